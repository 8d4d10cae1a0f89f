"""Read the story text in `text/`: blocks of lines, apart by blank lines; `#` begins a comment line.

A line that is only `-` stands for an empty template.
"""

from pathlib import Path

TEXT = Path(__file__).with_name("text")
EMPTY = "-"


def read_blocks(path: Path) -> list[tuple[str, ...]]:
    """Return the file's blocks, each as its lines."""
    blocks: list[list[str]] = [[]]
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            blocks.append([])
        else:
            blocks[-1].append("" if line == EMPTY else line)
    return [tuple(block) for block in blocks if block]


def read_lists(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the lists of a file whose blocks begin with `name:`; items end at " | " or with the line."""
    lists: dict[str, tuple[str, ...]] = {}
    for heading, *lines in read_blocks(path):
        items = [item for line in lines for item in line.split(" | ")]
        lists[heading.removesuffix(":")] = tuple("" if item == EMPTY else item for item in items)
    return lists
