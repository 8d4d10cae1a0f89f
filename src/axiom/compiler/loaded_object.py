"""An object of compiled functions in this process, and how they are called.

Light to import, as the first token of a hosted start waits for it: LLVM's own loader is not needed.

Every root has a thunk, made by `compiler.llvm.jit`, with one C signature:
`int thunk(void *result, uint64_t *arguments, uint64_t *record)`; 1 means that the call has panicked, and
the record then says how.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence

from axiom.compiler.relocation import address_in_process, place_object

# The record of a call, in words: what a panic says, then frames, then the jump buffer of the C library.
RECORD_WORDS = 128
MAX_FRAMES = 40
N_FRAMES_AT = 5
OUTER_FRAME_AT = 6
FRAMES_AT = 8
JUMP_AT = 64

LEAST_RESULT_BYTES = 16
_Thunk = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def thunk_name(symbol: str) -> str:
    """Return the symbol of a root's thunk."""
    return f"ax.thunk.{symbol}"


class CodePanic(Exception):
    """A call has panicked; record: what it left, RECORD_WORDS words."""

    def __init__(self, record: list[int]) -> None:
        super().__init__("compiled code has panicked")
        self.record = record


@functools.cache
def _record_key() -> int:
    """Return the key under which each thread keeps the record of the call that it is in."""
    key = ctypes.c_uint32(0)
    if ctypes.CDLL(None).pthread_key_create(ctypes.byref(key), None) != 0:
        raise OSError("no thread-specific storage is left in this process")
    return key.value


class LoadedObject:
    """An object in executable memory; keep it alive as long as its code may run."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._memory, self._symbols = place_object(data, address_in_process)
        self._thunks: dict[str, Callable[[int, int, int], int]] = {}
        ctypes.c_uint32.from_address(self.address("ax.record.key")).value = _record_key()

    def address(self, symbol: str) -> int:
        """Return the address of a function by its symbol. Raises KeyError when the object lacks it."""
        return self._symbols[symbol]

    def call(self, symbol: str, words: Sequence[int], result_bytes: int = 0) -> bytearray:
        """Call a root; return what it left as its result, at least LEAST_RESULT_BYTES. Raises CodePanic.

        words: its arguments as its thunk takes them, two for a slice: the address and the count.
        """
        thunk = self._thunks.get(symbol)
        if thunk is None:
            thunk = self._thunks[symbol] = _Thunk(self.address(thunk_name(symbol)))
        packed = (ctypes.c_uint64 * max(1, len(words)))(*words)
        record = (ctypes.c_uint64 * RECORD_WORDS)()
        data = bytearray(max(LEAST_RESULT_BYTES, result_bytes))
        place = (ctypes.c_char * len(data)).from_buffer(data)
        if thunk(ctypes.addressof(place), ctypes.addressof(packed), ctypes.addressof(record)):
            raise CodePanic(list(record))
        return data
