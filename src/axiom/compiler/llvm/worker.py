"""Compile one module: `python -m axiom.compiler.llvm.worker TRIPLE LEVEL < text > object`."""

import sys

from axiom.compiler.llvm.codegen import emit_object


def main() -> None:
    """Read LLVM text, write an object."""
    triple, level = sys.argv[1], int(sys.argv[2])
    sys.stdout.buffer.write(emit_object(sys.stdin.buffer.read().decode(), triple, level))


if __name__ == "__main__":
    main()
