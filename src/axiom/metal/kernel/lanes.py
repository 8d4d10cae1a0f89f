"""Lanes: the other processors, each doing its share of every operation.

Lane 0 is the one that runs the scheduler. `run` starts an operation by one store of its ticket, does lane
0's own share, and waits until every other lane has stored that ticket in its own mailbox; `lane_loop`
is the other side. Nobody ever writes a word that another writes, so there are no locks and no atomic
read-modify-writes here.

Why that is enough. x86-64 (Intel SDM volume 3, section 9.2.2) keeps the loads of a processor in order, its
stores in order, and no store ahead of an earlier load; only a load may go ahead of an earlier store. So:

- what lane 0 wrote before the ticket is seen by every lane that has seen the ticket (release and acquire);
- what a lane wrote during its share is seen by lane 0 once it has seen the lane's answer, and therefore,
  through the next ticket, by every other lane;
- the one reordering there is - lane 0 beginning to read for its share before its ticket is visible - is
  harmless: all that a share reads was complete before its operation began.

A share may take what is left of an operation from the other lanes by `atomic_add` to a counter (`engine`),
which lane 0 sets before the ticket: no lane adds to it any more then, as all have answered, and none does
before it has seen the ticket. The addition itself has to order nothing.

The tickets are volatile and fences stand beside them, so that the compiler keeps that order too. A share
must not leave non-temporal stores behind, which are outside of these rules.

A lane without work polls. In a Linux process, where the processor belongs to others too, whoever waits for
more than YIELD_CYCLES offers it to them, and a lane goes to sleep after PARK_CYCLES: it says so in its
mailbox and sleeps on the ticket, and `run` wakes it. That is the one place where a store must be visible
before a later load, on both sides: hence the two full fences. `run` needs its own only when there was time
to fall asleep since its last ticket. It reads the clock for the next time before it stores a ticket: Linux
may take the processor away at the store, and a lane may answer and fall asleep meanwhile. On metal, where
the processor can watch a cache line (`arch.user_wait`), a lane dozes after DOZE_POLLS, until the ticket's
line is written.

Each wait has a deadline: a lane that does not answer within DEADLINE_CYCLES (in a process: ten times that)
is named in a panic.
"""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.boot import MAX_LANES
from axiom.lang import (
    acquire_fence,
    address_of,
    array,
    fn,
    full_fence,
    panic,
    release_fence,
    static,
    static_var,
    struct,
    truncate,
    u32,
    u64,
    urange,
    volatile_load,
    volatile_store,
    wrapping_add,
)
from axiom.metal.arch.linux_calls import futex_wait, futex_wake, sched_yield
from axiom.metal.arch.processor import pause, read_cycles
from axiom.metal.arch.statistics import beat
from axiom.metal.arch.user_wait import monitor_line, wait_for_store

MAILBOX_BYTES = 128
DEADLINE_CYCLES = 16_000_000_000
# Linux may take a processor away from a thread, or a page of the model from memory, for long.
HOSTED_DEADLINE_CYCLES = 10 * DEADLINE_CYCLES
YIELD_CYCLES = 100_000
PARK_CYCLES = 4_000_000
DOZE_POLLS = 2048
DOZE_CYCLES = 10_000_000
# Two lines, because processors fetch lines in pairs.
_WORDS = MAILBOX_BYTES // 8
# In lane 0's mailbox the ticket, in the others' the answer.
_TICKET = 0
_ASLEEP = 1
_POLLS_PER_LOOK = 256
_FAILED = (1 << 64) - 1
_LATE = tuple(f"lane {lane} did not finish its share" for lane in range(MAX_LANES))
_GONE = tuple(f"lane {lane} has stopped" for lane in range(MAX_LANES))


@struct
class LaneState:
    """What lane 0 tells before a ticket: how many lanes there are, may they doze, shall they return."""

    n_lanes: u32
    may_doze: bool
    stopping: bool
    last_ticket_cycles: u64


@dataclass(frozen=True)
class Lanes:
    """The functions of one set of lanes.

    set_count(n_lanes): how many lanes there are, lane 0 included; before the first `run`.
    let_doze(): idle lanes may use `arch.user_wait`, which this processor has; not when hosted.
    run(): do one operation on all lanes; lane 0 only.
    lane_loop(lane): do a lane's shares until `stop`; may start before or after the first `run`.
    stop(): make every `lane_loop` return; by lane 0, or whoever comes after it.
    leave(lane): say that a lane has ended before its time, so that `run` panics at once.
    """

    set_count: Callable[[u32], None]
    let_doze: Callable[[], None]
    run: Callable[[], None]
    lane_loop: Callable[[u32], None]
    stop: Callable[[], None]
    leave: Callable[[u32], None]


@fn
def cycles_since(start: u64) -> u64:
    """Return the time since `start`, which another processor's counter may have shown."""
    now = read_cycles()
    return now - start if now > start else u64(0)


@fn(inline="never")
def blame(lane: u32, has_left: bool) -> None:
    """Panic with a lane's name."""
    for number in static(range(MAX_LANES)):
        if lane == number and has_left:
            panic(_GONE[number])
        if lane == number:
            panic(_LATE[number])


def make_lanes(
    share: Callable[[u32, u32], None], hosted: bool, deadline_cycles: int = DEADLINE_CYCLES
) -> Lanes:
    """Return lanes that do `share(lane, n_lanes)` for each operation, with storage of their own.

    hosted: the lanes are threads of a Linux process; otherwise processors, of which lane 0 has a watchdog.
    """
    state = static_var(
        LaneState(n_lanes=u32(1), may_doze=False, stopping=False, last_ticket_cycles=u64(0)), align=64
    )
    mail = static_var(array(u64, MAX_LANES * _WORDS), align=MAILBOX_BYTES)

    @fn
    def set_count(n_lanes: u32) -> None:
        assert n_lanes >= 1, "there is at least one lane"
        assert n_lanes <= MAX_LANES, "there are at most 64 lanes"
        state.n_lanes = n_lanes

    @fn
    def ticket_address() -> u64:
        return address_of(mail)

    @fn
    def wake() -> None:
        """Wake the lanes that may have fallen asleep since the last ticket."""
        full_fence()
        asleep = False
        for lane in urange(u32(1), state.n_lanes):
            if volatile_load(mail.all, lane * _WORDS + _ASLEEP) != 0:
                asleep = True
        if asleep:
            futex_wake(ticket_address())

    @fn
    def publish() -> u64:
        """Store the next ticket, after all that was written before; return it."""
        ticket = wrapping_add(volatile_load(mail.all, _TICKET), u64(1))
        before = u64(0)
        if hosted:
            before = read_cycles()
        release_fence()
        volatile_store(mail.all, _TICKET, ticket)
        if hosted:
            if cycles_since(state.last_ticket_cycles) > PARK_CYCLES // 2:
                wake()
            state.last_ticket_cycles = before
        return ticket

    @fn
    def await_answer(lane: u32, ticket: u64) -> None:
        polls = u32(0)
        start = u64(0)
        at = lane * _WORDS + _TICKET
        while volatile_load(mail.all, at) != ticket:
            pause()
            polls += 1
            if polls == _POLLS_PER_LOOK:
                polls = u32(0)
                if not hosted:
                    beat()
                if volatile_load(mail.all, at) == _FAILED:
                    blame(lane, True)
                if start == 0:
                    start = read_cycles()
                waited = cycles_since(start)
                if hosted and waited > YIELD_CYCLES:
                    sched_yield()
                if waited > deadline_cycles:
                    blame(lane, False)

    @fn
    def run() -> None:
        n_lanes = state.n_lanes
        if n_lanes == 1:
            share(u32(0), n_lanes)
            return
        ticket = publish()
        share(u32(0), n_lanes)
        for lane in urange(u32(1), n_lanes):
            await_answer(lane, ticket)
        acquire_fence()

    @fn
    def sleep(lane: u32, seen: u64) -> None:
        """Sleep until the ticket is another than `seen`."""
        asleep = lane * _WORDS + _ASLEEP
        volatile_store(mail.all, asleep, u64(1))
        full_fence()
        while volatile_load(mail.all, _TICKET) == seen:
            futex_wait(ticket_address(), truncate(u32, seen))
        volatile_store(mail.all, asleep, u64(0))

    @fn
    def let_doze() -> None:
        state.may_doze = True

    @fn
    def doze(seen: u64) -> None:
        """Wait for a store to the ticket's line, unless it is no longer `seen`."""
        monitor_line(ticket_address())
        if volatile_load(mail.all, _TICKET) == seen:
            wait_for_store(read_cycles() + DOZE_CYCLES)

    @fn
    def await_ticket(lane: u32, seen: u64) -> u64:
        polls = u32(0)
        start = u64(0)
        ticket = volatile_load(mail.all, _TICKET)
        while ticket == seen:
            pause()
            if hosted:
                polls += 1
                if polls == _POLLS_PER_LOOK:
                    polls = u32(0)
                    if start == 0:
                        start = read_cycles()
                    waited = cycles_since(start)
                    if waited > YIELD_CYCLES:
                        sched_yield()
                    if waited > PARK_CYCLES:
                        sleep(lane, seen)
            elif polls < DOZE_POLLS:
                polls += 1
            elif state.may_doze:
                doze(seen)
            ticket = volatile_load(mail.all, _TICKET)
        acquire_fence()
        return ticket

    @fn
    def lane_loop(lane: u32) -> None:
        assert lane >= 1, "lane 0 runs, the others loop"
        answer = lane * _WORDS + _TICKET
        while True:
            ticket = await_ticket(lane, volatile_load(mail.all, answer))
            if state.stopping:
                return
            share(lane, state.n_lanes)
            release_fence()
            volatile_store(mail.all, answer, ticket)

    @fn
    def stop() -> None:
        state.stopping = True
        publish()
        if hosted:
            wake()

    @fn
    def leave(lane: u32) -> None:
        volatile_store(mail.all, lane * _WORDS + _TICKET, u64(_FAILED))

    return Lanes(set_count, let_doze, run, lane_loop, stop, leave)
