"""What ring 3 may touch once the address map is sealed, and what a violation reports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from axiom.abi.boot import IMAGE_ADDRESS, ExitCode, RegionKind
from axiom.host.machine.crash_report import Crash, parse_crash, render_crash
from axiom.lang import (
    Slice,
    address_of,
    array,
    asm,
    fn,
    slice_at,
    static_var,
    symbol_address,
    table,
    u8,
    u64,
    unsafe,
    volatile_load,
    volatile_store,
    write_to,
)
from axiom.metal.arch.processor import probe_read
from axiom.metal.kernel.address_map import address_map
from axiom.metal.kernel.frames import region
from axiom.metal.kernel.log import log
from tests.support.boot_image import MACHINES, boot
from tests.support.mapped_kernel import STACK_BYTES, make_kernel, regions
from tests.support.metal import build_image

PAGE_FAULT = 14
CONSTANTS = table(u8, [1, 2, 3])
BUFFER = static_var(array(u8, 64))


@fn
def read(address: u64) -> None:
    # SAFETY: faults on purpose.
    with unsafe:
        place = slice_at(u8, address, 1)
    volatile_load(place, 0)


@fn
def write(address: u64) -> None:
    # SAFETY: faults on purpose.
    with unsafe:
        place = slice_at(u8, address, 1)
    volatile_store(place, 0, u8(1))


@fn
def execute(address: u64) -> None:
    # SAFETY: faults on purpose.
    with unsafe:
        asm("call *$0", "r,~{memory}", address)


@fn
def read_null() -> None:
    read(u64(0))


@fn
def read_below_stack() -> None:
    read(region(regions, RegionKind.STACK).address - 1)


@fn
def write_above_stack() -> None:
    write(region(regions, RegionKind.STACK).address + STACK_BYTES)


@fn
def write_weights() -> None:
    write(region(regions, RegionKind.WEIGHTS).address + 12345)


@fn
def write_code() -> None:
    # SAFETY: only the address is used.
    with unsafe:
        place = symbol_address("axiom_run")
    write(place)


@fn
def write_constants() -> None:
    # SAFETY: only the address is used.
    with unsafe:
        place = address_of(CONSTANTS)
    write(place)


@fn
def write_page_tables() -> None:
    write(address_map.base)


@fn
def write_ring0_tables() -> None:
    # SAFETY: only the address is used.
    with unsafe:
        place = symbol_address("axiom_boot_pml4")
    write(place)


@fn
def read_ring0_code() -> None:
    read(u64(IMAGE_ADDRESS))


@fn
def execute_data() -> None:
    # SAFETY: only the address is used.
    with unsafe:
        place = address_of(BUFFER)
    execute(place)


@fn
def execute_stack() -> None:
    execute(region(regions, RegionKind.STACK).address + 4096)


@fn
def read_unplanned_memory() -> None:
    read(u64(64 << 20))


PRESENT, WRITE, USER, FETCH = 1, 2, 4, 16
VIOLATIONS: list[tuple[Callable[[], None], int]] = [
    (read_null, USER),
    (read_below_stack, USER),
    (write_above_stack, USER | WRITE),
    (read_unplanned_memory, USER),
    (write_weights, USER | WRITE | PRESENT),
    (write_code, USER | WRITE | PRESENT),
    (write_constants, USER | WRITE | PRESENT),
    (write_page_tables, USER | WRITE | PRESENT),
    (write_ring0_tables, USER | WRITE | PRESENT),
    (read_ring0_code, USER | PRESENT),
    (execute_data, USER | FETCH | PRESENT),
    (execute_stack, USER | FETCH | PRESENT),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda v: getattr(v[0], "__name__", ""))
def test_a_violation_is_a_page_fault_with_its_cause_and_traceback(
    machine: str, violation: tuple[Callable[[], None], int], tmp_path: Path
) -> None:
    function, error_code = violation
    image = build_image(tmp_path / "image.elf", make_kernel(function))
    outcome = boot(machine, image)
    crash = parse_crash(outcome.text)
    assert outcome.code == ExitCode.CRASH
    assert crash is not None
    assert (crash.vector, crash.error_code) == (PAGE_FAULT, error_code)
    if not error_code & FETCH:
        assert_traceback(crash, image, function)


def assert_traceback(crash: Crash, image: Path, function: Callable[[], None]) -> None:
    lines = render_crash(crash, image).splitlines()
    name: str = getattr(function, "__name__", "")
    assert any(line.endswith(f", in {name}") for line in lines)
    assert any(f"{crash.fault_address:#x}" in line for line in lines[-1:])


@fn
def probe_everything() -> None:
    stack = region(regions, RegionKind.STACK)
    write_to(log, f"{probe_read(u64(0))} {probe_read(stack.address - 1)} {probe_read(stack.address)} ")
    write_to(log, f"{probe_read(address_map.base)} {address_map.giant_pages}")
    log.end()


@pytest.mark.parametrize(
    ("machine", "processor", "giant"),
    [("tcg", "max", "1"), ("tcg", "max,-pdpe1gb", "0"), ("kvm", "", "01")],
)
def test_probing_survives_faults_and_1_gib_pages_are_found_out(
    machine: str, processor: str, giant: str, tmp_path: Path
) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", make_kernel(probe_everything)), processor)
    assert outcome.code == ExitCode.OK
    assert outcome.text[:-2] == "0 0 1 0 "
    assert outcome.text[-2] in giant


@fn(inline="never")
def fill_first(part: Slice[u8]) -> None:
    volatile_store(part, 0, u8(1))


@fn(inline="never")
def dive() -> None:
    """Use more stack than is left."""
    local = array(u8, 2048)
    fill_first(local.all)


@fn
def overflow_stack() -> None:
    # SAFETY: moves the stack to its lower end on purpose; never returns from there.
    with unsafe:
        asm("movq $0, %rsp", "r,~{memory}", region(regions, RegionKind.STACK).address + 64)
    dive()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_stack_overflow_meets_the_guard_page(machine: str, tmp_path: Path) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", make_kernel(overflow_stack)))
    crash = parse_crash(outcome.text)
    assert outcome.code == ExitCode.CRASH
    assert crash is not None
    assert crash.vector == PAGE_FAULT
    assert 0 < crash.stack_pointer - crash.fault_address + 4096 < 8192
