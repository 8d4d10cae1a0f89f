"""`axiom compile`: what becomes of a file of the language."""

import os
import sys
from pathlib import Path

from axiom.host.errors import UserError
from axiom.host.image.compile_file import compile_file


def show_compiled(path: Path, form: str, processor: str, level: int, output: Path | None) -> None:
    """Compile a file and write the result to a file, or to stdout."""
    made = compile_file(path.resolve(), form, processor, level)
    if output is not None:
        part = output.with_name(f".{output.name}.{os.getpid()}.part")
        try:
            part.write_bytes(made)
            os.replace(part, output)
        except OSError as error:
            raise UserError(f"{output} cannot be written: {error.strerror}.") from None
        return
    if form == "obj" and sys.stdout.isatty():
        raise UserError("an object is not written to a terminal.", "give a file with -o")
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()
