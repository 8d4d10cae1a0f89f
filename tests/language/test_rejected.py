"""Programs that the compiler must refuse, each with the very words that it says."""

from pathlib import Path

import pytest

from tests.language.programs import Program, complaint, read_programs

FOLDER = Path(__file__).parent / "rejected"
PROGRAMS = read_programs(FOLDER)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.id)
def test_the_program_is_refused_with_these_words(program: Program, tmp_path: Path) -> None:
    assert complaint(program.source, tmp_path) == program.expected


def test_no_program_meets_a_defect_of_the_compiler() -> None:
    assert [p.id for p in PROGRAMS if "defect" in p.expected or not p.expected] == []


def test_the_corpus_keeps_its_size() -> None:
    assert len(PROGRAMS) >= 120
    assert len({p.id for p in PROGRAMS}) == len(PROGRAMS)
