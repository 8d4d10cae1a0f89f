"""What a plot is: beats in order, each told in one of several ways; and the plots in `text/plots`.

In a plot's file a `flags:` line comes first if there are any; then each block is a beat with one template
to a line. A block that begins with `props: a; b` holds props: each further line gives values for the slots
a and b.
"""

from dataclasses import dataclass
from pathlib import Path

from tools.bundled_model.text_files import TEXT, read_blocks

Beat = tuple[str, ...]
Props = dict[str, str]


@dataclass(frozen=True)
class Plot:
    """A plot: its beats in the order of telling, and groups of props, of each of which a story draws one.

    A story takes one template of each beat; an empty template leaves the beat out. When `about_toy` is true
    the story begins with the hero's toy, so that the beats may take it as known. `meets_friend`: nothing
    before the beats names the friend. `at_home`: it ends at home, and so nobody goes home afterwards.
    """

    name: str
    beats: tuple[Beat, ...]
    props: tuple[tuple[Props, ...], ...]
    about_toy: bool
    meets_friend: bool
    at_home: bool


def read_plot(path: Path) -> Plot:
    """Read one plot's file."""
    flags: set[str] = set()
    beats: list[Beat] = []
    props: list[tuple[Props, ...]] = []
    for block in read_blocks(path):
        if block[0].startswith("flags: "):
            flags = set(block[0].removeprefix("flags: ").split(", "))
        elif block[0].startswith("props: "):
            slots = block[0].removeprefix("props: ").split("; ")
            props.append(tuple(dict(zip(slots, line.split("; "), strict=True)) for line in block[1:]))
        else:
            beats.append(block)
    return Plot(
        path.stem,
        tuple(beats),
        tuple(props),
        about_toy="about_toy" in flags,
        meets_friend="meets_friend" in flags,
        at_home="at_home" in flags,
    )


PLOTS = tuple(read_plot(path) for path in sorted((TEXT / "plots").glob("*.txt")))
