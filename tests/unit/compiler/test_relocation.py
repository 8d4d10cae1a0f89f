"""Objects loaded into this process: where their parts lie, what may be done there, what is refused."""

import ctypes
import subprocess
from pathlib import Path

import pytest

from axiom.compiler.hosted import load_hosted
from axiom.compiler.relocation import LoadError, address_in_process, place_object
from axiom.lang import array_of, fn, static_var, table, u32, u64

PRIMES = table(u32, [2, 3, 5, 7, 11, 13, 17, 19])
CALLS = static_var(array_of(u32, [40]))


@fn
def prime(n: u64) -> u32:
    """Return a prime of the table and count the call."""
    CALLS[0] += 1
    return PRIMES[n] + CALLS[0]


def permissions(address: int) -> str:
    """Return what Linux allows at an address of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return line.split()[1]
    return ""


def test_code_constants_and_statics_work_and_are_protected() -> None:
    hosted = load_hosted([prime])
    assert [int(hosted(prime, n)) for n in (0, 7, 2)] == [2 + 41, 19 + 42, 5 + 43]
    memory, symbols = place_object(hosted.stored.data, address_in_process)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    code = next(at for name, at in symbols.items() if name.startswith("ax.thunk."))
    assert permissions(code).startswith("r-x")
    assert permissions(symbols["ax.record.key"]).startswith("rw-")
    allowed = {permissions(base + at)[:3] for at in range(0, len(memory), 4096)}
    assert allowed == {"r-x", "r--", "rw-"}


def test_two_copies_of_an_object_do_not_share_what_is_written() -> None:
    first, second = load_hosted([prime]), load_hosted([prime])
    assert int(first(prime, 0)) == 43
    assert int(first(prime, 0)) == 44
    assert int(second(prime, 0)) == 43


def test_what_is_not_in_the_process_is_refused_by_name() -> None:
    data = load_hosted([prime]).stored.data

    def nothing(name: str) -> int:
        raise LoadError(f"no {name}")

    with pytest.raises(LoadError, match=r"pthread_getspecific|longjmp|_setjmp|pthread_setspecific"):
        place_object(data, nothing)
    with pytest.raises(LoadError, match="no_such_function"):
        address_in_process("no_such_function")


def test_another_relocation_is_refused(tmp_path: Path) -> None:
    source, made = tmp_path / "far.s", tmp_path / "far.o"
    source.write_text(".text\ncall elsewhere\n")
    subprocess.run(["as", "--64", "-o", made, source], check=True)
    with pytest.raises(LoadError, match="relocation of type"):
        place_object(made.read_bytes(), lambda _: 0)
