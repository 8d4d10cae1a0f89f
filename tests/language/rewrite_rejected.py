"""Write into the corpus what the compiler says now: `python -m tests.language.rewrite_rejected`.

Review the difference: it is what users will read.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from tests.language.programs import complaint, read_programs, write_programs
from tests.language.test_rejected import FOLDER


def main() -> None:
    """Rewrite every file of the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        programs = read_programs(FOLDER)
        write_programs(FOLDER, [replace(p, expected=complaint(p.source, Path(folder))) for p in programs])


if __name__ == "__main__":
    main()
