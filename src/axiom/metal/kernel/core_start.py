"""Waking the other processors: INIT and start-up interrupts to each, and a place for those that answer.

    prepare_cores    while entry's page tables map everything: descriptors, and the trampoline below 1 MiB
    start_cores      with the final page tables: wake, count who has come, give each its lane
    join_lanes       what a woken processor does first

A processor that does not come within its time gets no lane; should it come later, it stops. All words here
have one writer at a time: each processor writes its own arrival, processor 0 all else, on lines apart (for
the order of stores and loads see `lanes`). Sources: Intel SDM volume 3, sections 9.4.4 (the INIT-SIPI-SIPI
sequence).
"""

from axiom.abi.boot import LANE_STACK_STRIDE, MAX_LANES, PAGE_BYTES
from axiom.lang import (
    Slice,
    acquire_fence,
    address_of,
    array,
    copy,
    fn,
    release_fence,
    static_var,
    struct,
    symbol_address,
    truncate,
    u8,
    u32,
    u64,
    urange,
    volatile_load,
    volatile_store,
    zeroed,
)
from axiom.metal.arch.cores import (
    complete_descriptors,
    core_of_apic,
    core_stack_tops,
    core_trampoline,
    set_core_start,
)
from axiom.metal.arch.gates import halt
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.arch.processor import pause
from axiom.metal.kernel.address_map import address_map
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles
from axiom.metal.kernel.frames import USABLE, MemoryMap
from axiom.metal.kernel.panic import set_lane, set_lane_stacks
from axiom.metal.kernel.processor_interrupts import (
    INIT,
    LARGEST_APIC_ID,
    START_UP,
    own_apic_id,
    send_interrupt,
)

LOWEST_TRAMPOLINE = 0x1000
HIGHEST_TRAMPOLINE = 0x9F000
INIT_WAIT_US = 100
SECOND_START_UP_MS = 10
ARRIVAL_MS = 1000
MAILBOX_WORDS = 16
ORDER_STOP = (1 << 64) - 1


@struct
class CoreStart:
    """The trampoline's page, 0 when there is none, and how many processors were told to start."""

    trampoline: u64
    n_woken: u32


core_start = static_var(zeroed(CoreStart))
# Each processor has a line on which it says that it is there, and one on which it is told its lane.
_arrivals = static_var(array(u64, MAX_LANES * MAILBOX_WORDS), align=128)
_orders = static_var(array(u64, MAX_LANES * MAILBOX_WORDS), align=128)


@fn
def find_trampoline(memory: MemoryMap) -> u64:
    """Return the highest usable page that real mode can reach; 0 when firmware leaves none."""
    for i in urange(memory.count):
        area = memory.ranges[memory.count - 1 - i]
        if area.kind == USABLE and area.address < HIGHEST_TRAMPOLINE:
            end = area.address + area.bytes
            if end > HIGHEST_TRAMPOLINE:
                end = u64(HIGHEST_TRAMPOLINE)
            page = (end - PAGE_BYTES) & ~u64(PAGE_BYTES - 1) if end >= PAGE_BYTES else u64(0)
            if page >= LOWEST_TRAMPOLINE and page >= area.address:
                return page
    return u64(0)


@fn(phase="init")
def prepare_cores(memory: MemoryMap, mapped: PhysicalMemory) -> None:
    """Complete the descriptors and place the trampoline in what entry's page tables map.

    What firmware has left there is lost.
    """
    page = find_trampoline(memory)
    core_start.trampoline = page
    if page == 0:
        return
    complete_descriptors()
    code = core_trampoline()
    copy(mapped.range(page, code.length), code)


@fn
def _has_come(core: u32) -> bool:
    return volatile_load(_arrivals.all, core * MAILBOX_WORDS) != 0


@fn(phase="init")
def _wait_for_all(limit_cycles: u64) -> None:
    """Wait until every woken processor has come, or the time is over."""
    start = now_cycles()
    for core in urange(u32(1), core_start.n_woken + 1):
        while not _has_come(core) and not has_passed(start, limit_cycles):
            pause()


@fn(phase="init")
def _note_wanted(apic_ids: Slice[u32], wanted: u32, stacks: Slice[u8]) -> None:
    """Number the processors to be woken and give each a stack, in the tables that they read."""
    numbers = core_of_apic()
    tops = core_stack_tops()
    set_core_start(address_map.base, symbol_address("axiom_lane"))
    own = own_apic_id()
    core_start.n_woken = u32(0)
    for i in urange(apic_ids.length):
        if core_start.n_woken + 1 < wanted and apic_ids[i] != own and apic_ids[i] <= LARGEST_APIC_ID:
            core_start.n_woken += 1
            numbers[apic_ids[i]] = u8(core_start.n_woken)
            tops[core_start.n_woken] = address_of(stacks) + u64(core_start.n_woken) * LANE_STACK_STRIDE
    set_lane_stacks(stacks)


@fn(phase="init")
def _wake(apic_ids: Slice[u32]) -> None:
    numbers = core_of_apic()
    start_up = truncate(u32, core_start.trampoline >> 12) | START_UP
    for i in urange(apic_ids.length):
        if apic_ids[i] <= LARGEST_APIC_ID and numbers[apic_ids[i]] != 0:
            send_interrupt(apic_ids[i], u32(INIT))
    start = now_cycles()
    while not has_passed(start, milliseconds(u64(1)) * INIT_WAIT_US // 1000):
        pause()
    for _ in urange(2):
        for i in urange(apic_ids.length):
            wanted = apic_ids[i] <= LARGEST_APIC_ID and numbers[apic_ids[i]] != 0
            if wanted and not _has_come(u32(numbers[apic_ids[i]])):
                send_interrupt(apic_ids[i], start_up)
        _wait_for_all(milliseconds(u64(SECOND_START_UP_MS)))


@fn(phase="init")
def start_cores(apic_ids: Slice[u32], wanted: u32, stacks: Slice[u8]) -> u32:
    """Start as many of these processors as are wanted; return the number of lanes there are, own included.

    stacks: the region LANE_STACKS, with room for `wanted`. After `prepare_cores`, with the map active.
    """
    if wanted <= 1 or core_start.trampoline == 0:
        return u32(1)
    assert wanted <= MAX_LANES, "there are more processors wanted than there can be lanes"
    assert stacks.length >= u64(wanted - 1) * LANE_STACK_STRIDE, "there are not enough stacks for the lanes"
    _note_wanted(apic_ids, wanted, stacks)
    release_fence()
    _wake(apic_ids)
    _wait_for_all(milliseconds(u64(ARRIVAL_MS)))
    acquire_fence()
    n_lanes = u32(1)
    for core in urange(u32(1), core_start.n_woken + 1):
        order = u64(ORDER_STOP)
        if _has_come(core):
            set_lane(core, n_lanes)
            order = u64(n_lanes)
            n_lanes += 1
        volatile_store(_orders.all, core * MAILBOX_WORDS, order)
    return n_lanes


@fn
def join_lanes(core: u32) -> u32:
    """Report for work as processor `core`; return its lane. One that came too late never returns."""
    release_fence()
    volatile_store(_arrivals.all, core * MAILBOX_WORDS, u64(1))
    order = u64(0)
    while order == 0:
        pause()
        order = volatile_load(_orders.all, core * MAILBOX_WORDS)
    acquire_fence()
    if order == ORDER_STOP:
        halt()
    return u32(order)
