"""An NVMe controller made of Python, beside the driver in this process, that can be made to fail.

It follows the NVM Express Base Specification 2.0c as far as the driver uses it, reading and writing this
process's memory as a device does by DMA, from a thread of its own. QEMU has a sound controller; this one
is for what a sound controller never does.
"""

import ctypes
import struct
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

PAGE = 4096
REGISTERS_BYTES = 0x2000
CAP, CC, CSTS, AQA, ASQ, ACQ = 0x00, 0x14, 0x1C, 0x24, 0x28, 0x30
DOORBELLS = 0x1000
IDENTIFY, CREATE_COMPLETION, CREATE_SUBMISSION, READ = 0x06, 0x05, 0x01, 0x02
INVALID_FIELD = 0x4002
TIMEOUT_UNITS = 20


def aligned_bytes(count: int) -> NDArray[np.uint8]:
    """Return zeroed bytes that start at a page."""
    raw = np.zeros(count + PAGE, np.uint8)
    start = -address_of(raw) % PAGE
    return raw[start : start + count]


def address_of(memory: NDArray[np.uint8]) -> int:
    """Return where an array lies."""
    return int(memory.__array_interface__["data"][0])


@dataclass(frozen=True)
class Behaviour:
    """What kind of controller it is, and what it does wrong."""

    mdts: int = 0
    block_shift: int = 9
    metadata_bytes: int = 0
    n_blocks: int | None = None
    max_entries: int = 2048
    doorbell_stride: int = 0
    page_shift: int = 0
    nvm_command_set: bool = True
    absent: bool = False
    stays_ready: bool = False
    never_ready: bool = False
    fatal: bool = False
    silent_opcode: int | None = None
    silent_namespace: int | None = None
    failing_opcode: int | None = None
    failing_block: int | None = None
    reverse: bool = False
    wrong_id: int | None = None


@dataclass
class _Queue:
    address: int
    entries: int
    position: int = 0
    phase: int = 1


class Controller:
    """A controller with one namespace, whose contents are `drive`. Use as a context manager."""

    def __init__(self, drive: bytes, behaviour: Behaviour) -> None:
        self.registers = aligned_bytes(REGISTERS_BYTES)
        self.commands: list[int] = []
        self.most_in_flight = 0
        self.doorbell_rings = 0
        self._drive = drive
        self._how = behaviour
        self._submissions: dict[int, _Queue] = {}
        self._completions: dict[int, _Queue] = {}
        self._tails: dict[int, int] = {}
        self._enabled = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        how = behaviour
        capabilities = (how.max_entries - 1) | TIMEOUT_UNITS << 24
        capabilities |= how.doorbell_stride << 32 | how.page_shift << 48
        self._put("<Q", CAP, capabilities | how.nvm_command_set << 37)
        self._put("<I", CSTS, 0xFFFFFFFF if how.absent else int(how.stays_ready))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _put(self, form: str, offset: int, value: int) -> None:
        struct.pack_into(form, self.registers.data, offset, value)

    def _get(self, form: str, offset: int) -> int:
        return int(struct.unpack_from(form, self.registers.data, offset)[0])

    def _work(self) -> None:
        while not self._stop.is_set():
            if not self._how.absent:
                self._follow_enable_bit()
                if self._enabled:
                    self._serve()

    def _follow_enable_bit(self) -> None:
        wanted = self._get("<I", CC) & 1 == 1
        if wanted == self._enabled or self._how.stays_ready:
            return
        self._enabled = wanted
        if not wanted:
            self._put("<I", CSTS, 0)
            return
        entries = self._get("<I", AQA)
        self._submissions = {0: _Queue(self._get("<Q", ASQ), (entries & 0xFFF) + 1)}
        self._completions = {0: _Queue(self._get("<Q", ACQ), (entries >> 16 & 0xFFF) + 1)}
        self._tails = {}
        self.registers[DOORBELLS:] = 0
        if self._how.fatal:
            self._put("<I", CSTS, 2)
        elif not self._how.never_ready:
            self._put("<I", CSTS, 1)

    def _serve(self) -> None:
        for number, queue in list(self._submissions.items()):
            tail = self._get("<I", DOORBELLS + 2 * number * (4 << self._how.doorbell_stride))
            if tail != self._tails.get(number, 0):
                self._tails[number] = tail
                self.doorbell_rings += number
            waiting: list[bytes] = []
            while queue.position != tail:
                waiting.append(ctypes.string_at(queue.address + 64 * queue.position, 64))
                queue.position = (queue.position + 1) % queue.entries
            if number == 1:
                self.most_in_flight = max(self.most_in_flight, len(waiting))
            for entry in reversed(waiting) if self._how.reverse and number == 1 else waiting:
                self._execute(number, entry)

    def _execute(self, queue: int, entry: bytes) -> None:
        opcode, command_id, namespace = struct.unpack_from("<HHI", entry)
        first, second = struct.unpack_from("<QQ", entry, 24)
        words = struct.unpack_from("<III", entry, 40)
        self.commands.append(opcode)
        if opcode == self._how.silent_opcode and self._how.silent_namespace in (None, namespace):
            return
        status = INVALID_FIELD if opcode == self._how.failing_opcode else 0
        if status == 0 and queue == 0:
            self._administer(opcode, namespace, first, words)
        elif status == 0:
            status = self._read(first, second, words)
        self._answer(queue, command_id, status)

    def _administer(self, opcode: int, namespace: int, address: int, words: tuple[int, ...]) -> None:
        if opcode == IDENTIFY:
            page = bytearray(PAGE)
            if words[0] == 1:
                page[77] = self._how.mdts
            elif namespace == 1:
                blocks = len(self._drive) >> self._how.block_shift
                struct.pack_into(
                    "<Q", page, 0, blocks if self._how.n_blocks is None else self._how.n_blocks
                )
                # The second format of the table is in use.
                page[26] = 1
                struct.pack_into("<HBB", page, 132, self._how.metadata_bytes, self._how.block_shift, 0)
            ctypes.memmove(address, bytes(page), PAGE)
        elif opcode == CREATE_COMPLETION:
            self._completions[words[0] & 0xFFFF] = _Queue(address, (words[0] >> 16) + 1)
        elif opcode == CREATE_SUBMISSION:
            self._submissions[words[0] & 0xFFFF] = _Queue(address, (words[0] >> 16) + 1)

    def _read(self, first: int, second: int, words: tuple[int, ...]) -> int:
        block = words[0] | words[1] << 32
        count = (words[2] & 0xFFFF) + 1
        if self._how.failing_block is not None and block <= self._how.failing_block < block + count:
            return 0x281
        data = self._drive[block << self._how.block_shift : (block + count) << self._how.block_shift]
        pages = len(data) // PAGE
        addresses = [first, second] if pages == 2 else [first]
        if pages > 2:
            listed = ctypes.string_at(second, 8 * (pages - 1))
            addresses += struct.unpack(f"<{pages - 1}Q", listed)
        for number, address in enumerate(addresses):
            assert address % PAGE == 0
            ctypes.memmove(address, data[number * PAGE : (number + 1) * PAGE], PAGE)
        return 0

    def _answer(self, number: int, command_id: int, status: int) -> None:
        queue = self._completions[number]
        place = queue.address + 16 * queue.position
        if self._how.wrong_id is not None and number == 1:
            command_id = self._how.wrong_id
        head = self._submissions[number].position
        ctypes.memmove(place, struct.pack("<IIHHH", 0, 0, head, number, command_id), 14)
        ctypes.memmove(place + 14, struct.pack("<H", status << 1 | queue.phase), 2)
        queue.position = (queue.position + 1) % queue.entries
        if queue.position == 0:
            queue.phase ^= 1
