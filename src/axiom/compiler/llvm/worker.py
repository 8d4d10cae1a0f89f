"""Compile one module: `python -m axiom.compiler.llvm.worker TRIPLE LEVEL < text > object`."""

import signal
import sys

from axiom.compiler.llvm.codegen import emit_object


def main() -> None:
    """Read LLVM text, write an object."""
    # Ctrl-C reaches this process too: it ends without a word, and its parent says what is to be said.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    triple, level = sys.argv[1], int(sys.argv[2])
    sys.stdout.buffer.write(emit_object(sys.stdin.buffer.read().decode(), triple, level))


if __name__ == "__main__":
    main()
