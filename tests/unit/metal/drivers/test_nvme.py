"""The NVMe driver against a controller that does what it is told, and against some that do not."""

import math
from typing import Any

import numpy as np
import pytest

from axiom.compiler.hosted import Hosted, load_hosted
from axiom.lang import Slice, fn, static_var, u8, u64, zeroed
from axiom.metal.drivers.nvme import nvme, start_nvme, stop_nvme
from axiom.metal.drivers.nvme_read import ReadJob, poll_read, start_read
from axiom.metal.drivers.nvme_registers import DEPTH, DEVICE_QUEUE_BYTES, NvmeStatus
from axiom.metal.kernel.clock import clock, now_cycles
from tests.support.nvme_controller import (
    CREATE_COMPLETION,
    CREATE_SUBMISSION,
    IDENTIFY,
    READ,
    REGISTERS_BYTES,
    Behaviour,
    Controller,
    address_of,
    aligned_bytes,
)

MIB = 1 << 20
# Deadlines of seconds pass in tenths of one with a clock that is told to be slower.
PATIENT_HZ = 2_000_000_000
IMPATIENT_HZ = 100_000_000
FOR_EVER = 30

_job = static_var(zeroed(ReadJob))


@fn
def set_clock(hz: u64) -> None:
    clock.tsc_hz = hz


@fn(phase="init")
def start(registers: u64, registers_bytes: u64, memory: Slice[u8], about: Slice[u64]) -> NvmeStatus:
    status = start_nvme(registers, registers_bytes, memory)
    about[0] = nvme.transfer_bytes
    about[1] = nvme.block_bytes
    about[2] = nvme.n_blocks
    about[3] = u64(nvme.failed_opcode)
    about[4] = u64(nvme.failed_status)
    return status


@fn(phase="init")
def read(target: Slice[u8], start_byte: u64, about: Slice[u64]) -> NvmeStatus:
    """Read to the end, or the first failure; the parts in order only ever grow."""
    begin = now_cycles()
    status = start_read(_job, target, start_byte)
    known = u64(0)
    while status == NvmeStatus.OK and not _job.done():
        status = poll_read(_job)
        assert _job.bytes_in_order() >= known, "bytes went away"
        known = _job.bytes_in_order()
        assert now_cycles() - begin < FOR_EVER * PATIENT_HZ, "it goes on for ever"
    about[3] = u64(nvme.failed_opcode)
    about[4] = u64(nvme.failed_status)
    return status


@fn(phase="init")
def stop() -> NvmeStatus:
    return stop_nvme()


@pytest.fixture(scope="module")
def compiled() -> Hosted:
    """The driver, compiled into this process."""
    return load_hosted([set_clock, start, read, stop])


DRIVE = np.random.default_rng(7).integers(0, 256, 6 * MIB + 8192, np.uint8).tobytes()


class Driver:
    """The driver with the memory that it needs."""

    def __init__(self, compiled: Hosted, controller: Controller, patient: bool = True) -> None:
        self._call = compiled
        self._controller = controller
        self._memory = aligned_bytes(DEVICE_QUEUE_BYTES)
        self.about = np.zeros(5, np.uint64)
        compiled(set_clock, PATIENT_HZ if patient else IMPATIENT_HZ)

    def start(self, registers_bytes: int = REGISTERS_BYTES) -> NvmeStatus:
        registers = address_of(self._controller.registers)
        return NvmeStatus(self._call(start, registers, registers_bytes, self._memory, self.about))

    def read(self, count: int, start_byte: int) -> tuple[NvmeStatus, Any]:
        target = aligned_bytes(count)
        return NvmeStatus(self._call(read, target, start_byte, self.about)), target

    def stop(self) -> NvmeStatus:
        return NvmeStatus(self._call(stop))


SOUND = {
    "plain": Behaviour(),
    "answers in reverse": Behaviour(reverse=True),
    "blocks of 4 KiB": Behaviour(block_shift=12),
    "transfers of 128 KiB, in reverse": Behaviour(mdts=5, reverse=True),
    "transfers of 8 KiB": Behaviour(mdts=1),
    "transfers of 16 MiB": Behaviour(mdts=12),
    "queues of four": Behaviour(max_entries=4),
    "queues of two": Behaviour(max_entries=2, mdts=7),
    "doorbells apart": Behaviour(doorbell_stride=3),
}


@pytest.mark.parametrize("behaviour", SOUND.values(), ids=SOUND.keys())
def test_any_range_of_pages_is_read(behaviour: Behaviour, compiled: Hosted) -> None:
    with Controller(DRIVE, behaviour) as controller:
        driver = Driver(compiled, controller)
        assert driver.start() == NvmeStatus.OK
        transfer = min(4096 << behaviour.mdts, 2 * MIB) if behaviour.mdts else 2 * MIB
        block = 1 << behaviour.block_shift
        assert driver.about[:3].tolist() == [transfer, block, len(DRIVE) // block]
        for begin, count in [(0, 4096), (4096, 8192), (12288, 3 * 4096), (8192, 5 * MIB + 4096)]:
            status, target = driver.read(count, begin)
            assert status == NvmeStatus.OK
            assert target.tobytes() == DRIVE[begin : begin + count]
        assert driver.read(len(DRIVE), 0)[1].tobytes() == DRIVE
        assert driver.stop() == NvmeStatus.OK
        assert driver.start() == NvmeStatus.OK
        assert driver.read(4096, len(DRIVE) - 4096)[1].tobytes() == DRIVE[-4096:]


def test_commands_are_shown_together_and_as_many_as_fit(compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour(mdts=5)) as controller:
        driver = Driver(compiled, controller)
        assert driver.start() == NvmeStatus.OK
        assert driver.read(len(DRIVE), 0)[0] == NvmeStatus.OK
        assert controller.commands.count(READ) == math.ceil(len(DRIVE) / (128 << 10))
        assert 2 <= controller.most_in_flight <= DEPTH
        assert controller.doorbell_rings < controller.commands.count(READ)


def test_nothing_is_read_beyond_the_end(compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour()) as controller:
        driver = Driver(compiled, controller)
        assert driver.start() == NvmeStatus.OK
        for begin, count in [
            (len(DRIVE), 4096),
            (len(DRIVE) - 4096, 8192),
            ((1 << 64) - 4096, 4096),
        ]:
            assert driver.read(count, begin)[0] == NvmeStatus.OUT_OF_RANGE
        assert READ not in controller.commands


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (Behaviour(absent=True), NvmeStatus.REGISTERS_ABSENT),
        (Behaviour(stays_ready=True), NvmeStatus.CSTS_STAYED_READY),
        (Behaviour(never_ready=True), NvmeStatus.CSTS_NOT_READY),
        (Behaviour(fatal=True), NvmeStatus.CSTS_FATAL),
        (Behaviour(page_shift=1), NvmeStatus.PAGE_SIZE_NOT_OFFERED),
        (Behaviour(nvm_command_set=False), NvmeStatus.COMMAND_SET_NOT_OFFERED),
        (Behaviour(n_blocks=0), NvmeStatus.NO_NAMESPACE),
        (Behaviour(n_blocks=(1 << 64) - 1), NvmeStatus.NO_NAMESPACE),
        (Behaviour(block_shift=13), NvmeStatus.UNKNOWN_BLOCK_SIZE),
        (Behaviour(block_shift=8), NvmeStatus.UNKNOWN_BLOCK_SIZE),
        (Behaviour(metadata_bytes=8), NvmeStatus.UNKNOWN_BLOCK_SIZE),
        (
            Behaviour(silent_opcode=IDENTIFY, silent_namespace=0),
            NvmeStatus.IDENTIFY_CONTROLLER_TIMEOUT,
        ),
        (Behaviour(silent_opcode=IDENTIFY, silent_namespace=1), NvmeStatus.IDENTIFY_NAMESPACE_TIMEOUT),
        (Behaviour(silent_opcode=CREATE_COMPLETION), NvmeStatus.CREATE_COMPLETION_QUEUE_TIMEOUT),
        (Behaviour(silent_opcode=CREATE_SUBMISSION), NvmeStatus.CREATE_SUBMISSION_QUEUE_TIMEOUT),
    ],
    ids=lambda value: value.name if isinstance(value, NvmeStatus) else "",
)
def test_a_controller_that_does_not_start_is_told_by_what_it_did_not_do(
    behaviour: Behaviour, status: NvmeStatus, compiled: Hosted
) -> None:
    with Controller(DRIVE, behaviour) as controller:
        waits = "TIMEOUT" in status.name or status in (
            NvmeStatus.CSTS_STAYED_READY,
            NvmeStatus.CSTS_NOT_READY,
        )
        assert Driver(compiled, controller, patient=not waits).start() == status


@pytest.mark.parametrize("opcode", [IDENTIFY, CREATE_COMPLETION, CREATE_SUBMISSION])
def test_a_command_that_fails_is_named_with_its_status(opcode: int, compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour(failing_opcode=opcode)) as controller:
        driver = Driver(compiled, controller)
        assert driver.start() == NvmeStatus.COMMAND_FAILED
        assert driver.about[3:].tolist() == [opcode, 0x4002]


def test_registers_that_end_too_early_are_refused(compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour()) as controller:
        assert Driver(compiled, controller).start(0x100C) == NvmeStatus.REGISTERS_TOO_SHORT
        assert Driver(compiled, controller).start(0x100) == NvmeStatus.REGISTERS_TOO_SHORT


def test_a_block_that_cannot_be_read_is_told(compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour(failing_block=5 * MIB // 512)) as controller:
        driver = Driver(compiled, controller)
        assert driver.start() == NvmeStatus.OK
        assert driver.read(4 * MIB, 0)[0] == NvmeStatus.OK
        assert driver.read(len(DRIVE), 0)[0] == NvmeStatus.COMMAND_FAILED
        assert driver.about[3:].tolist() == [READ, 0x281]


def test_a_read_that_never_ends_meets_its_deadline(compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour(silent_opcode=READ)) as controller:
        driver = Driver(compiled, controller, patient=False)
        assert driver.start() == NvmeStatus.OK
        assert driver.read(4096, 0)[0] == NvmeStatus.READ_TIMEOUT


@pytest.mark.parametrize("wrong_id", [40, 64, 0xFFFF])
def test_an_answer_to_nothing_that_was_asked_is_refused(wrong_id: int, compiled: Hosted) -> None:
    with Controller(DRIVE, Behaviour(wrong_id=wrong_id)) as controller:
        driver = Driver(compiled, controller)
        assert driver.start() == NvmeStatus.OK
        assert driver.read(4096, 0)[0] == NvmeStatus.WRONG_COMMAND_ID
