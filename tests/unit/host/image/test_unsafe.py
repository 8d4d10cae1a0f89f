"""Where the kernel's sources may hold raw access, and how much of it there is."""

import ast
from pathlib import Path

import axiom
from axiom.host.image.report import count_unsafe

METAL = Path(axiom.__file__).parent / "metal"
ROOMS = {"arch", "drivers"}
ALLOCATOR = {Path("kernel/frames.py"), Path("kernel/arena.py")}
LIMIT = 60
RAW = {"slice_at", "struct_at", "asm", "asm_value"}


def test_raw_access_stays_in_arch_drivers_and_the_allocator() -> None:
    found = {path.relative_to(METAL): count_unsafe(path) for path in METAL.rglob("*.py")}
    outside = [
        str(path)
        for path, count in found.items()
        if count and path.parts[0] not in ROOMS and path not in ALLOCATOR
    ]
    assert outside == []
    assert 10 < sum(found.values()) < LIMIT


def test_nothing_else_names_what_only_unsafe_blocks_may_call() -> None:
    for path in METAL.rglob("*.py"):
        part = path.relative_to(METAL)
        if part.parts[0] in ROOMS or part in ALLOCATOR:
            continue
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & RAW, path


def test_a_block_is_counted_however_it_is_written(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("with unsafe:\n    pass\nwith open('a') as unsafe, unsafe:\n    with unsafe: pass\n")
    assert count_unsafe(source) == 3
