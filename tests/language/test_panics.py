"""Programs that compile and then panic: the reason, the words and the line are those of CPython."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from axiom.compiler.hosted import HostedPanic, load_hosted
from axiom.lang import Panic
from tests.language.programs import Program, execute, read_programs, roots

PROGRAMS = read_programs(Path(__file__).parent / "panics")
LEVELS = {"O0": 0, "O3": 3}
# A function through which a constant passes unseen by the optimiser and by the checks of constants.
PRELUDE = (
    "from typing import TypeVar as _TypeVar; _T = _TypeVar('_T')\n"
    "@fn(inline='never')\n"
    "def opaque(value: _T) -> _T:\n"
    "    return value\n"
)


def _panic_line(source: str) -> int:
    marked = [i for i, line in enumerate(source.splitlines(), 1) if line.endswith("# panics")]
    assert len(marked) == 1, "one line is marked with `# panics`"
    return marked[0]


def _load(program: Program, folder: Path) -> tuple[Any, int]:
    source = PRELUDE + program.source
    (root,) = roots(execute(source, folder))
    return root, _panic_line(source)


def _same_words(text: str, expected: str) -> bool:
    """Bounds and alignment of more than one element are worded differently where addresses are real."""
    return text == expected or text.startswith(f"{expected}: ")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.id)
def test_cpython_panics_at_the_marked_line(program: Program, tmp_path: Path) -> None:
    root, line = _load(program, tmp_path)
    # CPython's own words for an assertion, and for a number that is no member of an enum.
    with pytest.raises((Panic, AssertionError, ValueError)) as caught:
        root()
    if isinstance(caught.value, Panic):
        assert _same_words(str(caught.value), program.expected)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.lineno for frame in frames if Path(frame.filename).parent == tmp_path][-1] == line


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.id)
def test_compiled_code_panics_at_the_marked_line(program: Program, level: int, tmp_path: Path) -> None:
    root, line = _load(program, tmp_path)
    hosted = load_hosted([root], level=level)
    with pytest.raises(HostedPanic) as caught:
        hosted(root)
    assert _same_words(str(caught.value), program.expected)
    places = caught.value.places()
    assert (Path(places[-1].file).parent, places[-1].line) == (tmp_path, line)
    assert places[0].function == "root"


def test_the_traceback_reads_as_one_of_python(tmp_path: Path) -> None:
    program = next(p for p in PROGRAMS if p.title == "an assertion in the last of three calls")
    root, _ = _load(program, tmp_path)
    with pytest.raises(HostedPanic) as caught:
        load_hosted([root])(root)
    file = root.python.__code__.co_filename
    assert caught.value.traceback().splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{file}", line 15, in root',
        "    return second(opaque(u32(2)))",
        f'  File "{file}", line 12, in second',
        "    return third(n + 1)",
        f'  File "{file}", line 8, in third',
        '    assert n < 3, "third"  # panics',
    ]
    assert "in third" in "".join(traceback.format_exception(caught.value))


def test_the_corpus_keeps_its_size() -> None:
    assert len(PROGRAMS) >= 49
    assert len({p.id for p in PROGRAMS}) == len(PROGRAMS)
