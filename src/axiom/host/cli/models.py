"""What several commands share: sizes, the model argument, and progress on long work."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from axiom.host.errors import UserError
from axiom.models import bundled_model_path

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from axiom.host.model.packed_file import PackedModel

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MACHINE_STEP_BYTES = 2 << 20
MAX_PROCESSORS = 64


def parse_size(text: str | None) -> int | None:
    """Return the bytes that a size such as 512M means, rounded up to 2 MiB; None stays None."""
    if text is None:
        return None
    upper = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = upper[-1:] if upper[-1:] in UNITS else ""
    number = upper[: len(upper) - len(unit)]
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise UserError(f"the size {text!r} is not understood.", "write 512M or 4G, for example")
    return -(-int(number) * UNITS[unit] // MACHINE_STEP_BYTES) * MACHINE_STEP_BYTES


@contextmanager
def progress_bar(console: "Console") -> Generator[Callable[[str, int, int], None]]:
    """Show a bar on stderr while something takes long; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield update


def model_path(argument: str | None) -> Path:
    """Return the GGUF file that was asked for."""
    return Path(argument) if argument is not None else bundled_model_path()


def processors(wanted: int | None) -> tuple[int, str]:
    """Return how many processors to use and, where that is not what was asked for, a note that says so.

    A processor of the machine for which this computer has none makes all others wait for it.
    """
    available = len(os.sched_getaffinity(0))
    if wanted is None:
        return available, ""
    if not 1 <= wanted <= MAX_PROCESSORS:
        raise UserError(f"--cpus {wanted} is not within 1 and {MAX_PROCESSORS}.")
    if wanted > available:
        return available, f"{available} processors, as this computer offers no {wanted}"
    return wanted, ""


def open_model(argument: str | None, console: "Console | None" = None) -> "PackedModel":
    """Return the packed form of the model that was asked for, packing it first when needed."""
    from axiom.host.model.cached_model import cached_model
    from axiom.host.model.packed_cache import default_cache_dir

    path = model_path(argument)
    found = cached_model(path, default_cache_dir())
    if found is not None:
        return found
    from rich.console import Console

    from axiom.host.model.pack import packed_model

    with progress_bar(console or Console(stderr=True, highlight=False, soft_wrap=True)) as update:
        return packed_model(path, progress=update)
