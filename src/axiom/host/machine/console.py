"""What the guest wrote to its first serial port: the log and, when it crashed, the crash record.

The machine appends to an anonymous file that this process reads, so that nobody has to empty a pipe and
nothing is left behind.
"""

import os


class Console:
    """Text that grows while the machine runs."""

    def __init__(self) -> None:
        self.file = os.memfd_create("axiom-console", os.MFD_CLOEXEC)

    def text(self) -> str:
        """Return all text so far; bytes that are not UTF-8 are replaced."""
        return self.text_from(0)[0]

    def text_from(self, position: int) -> tuple[str, int]:
        """Return the text from a byte position on, and the position behind it."""
        if self.file < 0:
            return "", position
        end = os.fstat(self.file).st_size
        data = os.pread(self.file, max(0, end - position), position)
        return data.decode(errors="replace").replace("\r\n", "\n"), position + len(data)

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that are not empty."""
        return [line for line in self.text().splitlines() if line.strip()][-count:]

    def close(self) -> None:
        """Forget the text."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
