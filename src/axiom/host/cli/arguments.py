"""What the command line accepts: one parser, one sub-command each with its options.

The parser is the standard library's because it is imported in milliseconds, which a first token waits for.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from axiom.host.errors import UserError

Handler = Callable[[Namespace], int | None]
_HELP_WIDTH = 100


class _Formatter(RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24, width=_HELP_WIDTH)


class _Parser(ArgumentParser):
    """Turns what argparse complains of into the program's own kind of error."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}.", f"see {self.prog} --help")


def at_least(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are no smaller."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError
        return value

    number.__name__ = f"number from {least} on,"
    return number


def make_parser(handlers: Mapping[str, Handler]) -> ArgumentParser:
    """Return the parser; handlers: by the name of the command."""
    parser = _Parser(
        prog="axiom",
        description="Run a language model on a kernel that does nothing else.",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, (help_text, describe) in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_text, description=help_text, formatter_class=_Formatter, allow_abbrev=False
        )
        describe(command)
        command.set_defaults(handler=handlers[name])
    return parser


def _model(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", metavar="MODEL.gguf", help="a GGUF file; the bundled model when left out"
    )


def _machine(parser: ArgumentParser) -> None:
    parser.add_argument("--machine", default="auto", metavar="NAME", help="auto, kvm, tcg or hosted")


def _cpus(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--cpus", type=int, metavar="N", help="processors of the machine; all when left out"
    )


def _context(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--context",
        type=int,
        metavar="N",
        help="positions that the KV cache holds; up to 4096 when left out",
    )


def _kv(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--kv",
        metavar="TYPE",
        help="f16 or q8_0: what keys and values are cached in; f16 when left out, f32 with weights in f32",
    )


def _load(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--load",
        default="auto",
        metavar="WAY",
        help="map the model into the machine's memory, have it read from nvme, or auto",
    )


def _memory(parser: ArgumentParser) -> None:
    parser.add_argument("--memory", metavar="SIZE", help="memory of the machine, such as 512M or 4G")


def _json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _prompt(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--prompt", default="", metavar="TEXT", help="the text to go on from")


def _run(parser: ArgumentParser) -> None:
    _model(parser)
    _prompt(parser)
    parser.add_argument(
        "-n", dest="count", type=int, default=256, metavar="N", help="most tokens to generate"
    )
    parser.add_argument(
        "--temp", type=float, default=0.0, metavar="X", help="0, always the likeliest, and up"
    )
    parser.add_argument("--top-k", type=int, default=0, metavar="N", help="choose among so many; 0 for all")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="X", help="among so much probability")
    parser.add_argument("--seed", type=int, metavar="N", help="repeat a draw; random when left out")
    parser.add_argument("--ignore-eos", action="store_true", help="go on after the end of the text")
    parser.add_argument("--ids", action="store_true", help="print token ids on one line instead of text")
    _json(parser)
    _machine(parser)
    _cpus(parser)
    _memory(parser)
    _context(parser)
    _kv(parser)
    _load(parser)
    parser.add_argument(
        "--link",
        default="auto",
        metavar="WAY",
        help="talk to the kernel over a ring in shared memory, over its uart, or auto",
    )


def _plan(parser: ArgumentParser) -> None:
    _model(parser)
    _json(parser)
    _memory(parser)
    _context(parser)
    _kv(parser)
    _cpus(parser)
    _load(parser)
    parser.add_argument(
        "--bandwidth",
        type=float,
        metavar="GB/S",
        help="memory bandwidth to reckon with; measured when left out",
    )


def _trace(parser: ArgumentParser) -> None:
    _model(parser)
    _prompt(parser)
    parser.add_argument(
        "-n", dest="count", type=at_least(1), default=16, metavar="N", help="tokens to generate; 16"
    )
    _machine(parser)
    _cpus(parser)
    _context(parser)
    _kv(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("trace.json"), metavar="FILE", help="trace.json"
    )


def _verify(parser: ArgumentParser) -> None:
    _model(parser)
    _json(parser)
    _machine(parser)
    _cpus(parser)
    _memory(parser)
    _context(parser)
    _kv(parser)
    _load(parser)


def _debug(parser: ArgumentParser) -> None:
    _model(parser)
    _prompt(parser)
    parser.add_argument(
        "-n", dest="count", type=at_least(1), default=16, metavar="N", help="tokens to generate; 16"
    )
    parser.add_argument(
        "--break",
        dest="breakpoints",
        action="append",
        default=[],
        metavar="FILE:LINE",
        help="where to stop, as often as needed; FILE:FUNCTION too. FILE is enough of the path",
    )
    parser.add_argument("--gdb", action="store_true", help="open gdb here")
    parser.add_argument("--machine", default="tcg", metavar="NAME", help="tcg (the default) or kvm")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="processors of the machine; 1")
    _context(parser)


def _compile(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.py", help="a file of the language")
    parser.add_argument(
        "--emit",
        default="listing",
        metavar="FORM",
        help="ir, asm, listing (assembly below its Python; the default) or obj",
    )
    parser.add_argument(
        "--cpu",
        default="v3",
        metavar="NAME",
        help="baseline, v3, v4vnni, v4amx, aarch64 or neoverse-n1; v3",
    )
    parser.add_argument(
        "-O", dest="level", type=int, choices=range(4), default=3, help="how hard to optimise; 3"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="stdout when left out")


def _report(parser: ArgumentParser) -> None:
    _model(parser)
    _json(parser)
    _context(parser)


def _bench(parser: ArgumentParser) -> None:
    _model(parser)
    parser.add_argument(
        "--peer",
        default="llama.cpp",
        metavar="PEER",
        help="llama.cpp (the default: llama-cpp-python in .venv-peer or AXIOM_PEER_PYTHON), none, "
        "or the path of a llama-bench or of a Python that has llama-cpp-python",
    )
    _machine(parser)
    _cpus(parser)
    _context(parser)
    _kv(parser)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and fewer tokens, the same lines"
    )
    _json(parser)
    parser.add_argument(
        "--tokens",
        type=at_least(1),
        metavar="N",
        help="tokens to take the jitter from; 2000 when left out, 100 with --quick",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw latencies and bandwidth as a PNG")


def _nothing(parser: ArgumentParser) -> None:
    """No options."""


COMMANDS: dict[str, tuple[str, Callable[[ArgumentParser], Any]]] = {
    "run": ("Boot the kernel with a model and stream what it generates.", _run),
    "plan": (
        "Show the memory plan of a model: every region, and what a token costs. Nothing boots.",
        _plan,
    ),
    "verify": (
        "Boot the kernel and check its memory: places, pages, digests, and how fast each core reads it.",
        _verify,
    ),
    "trace": (
        "Show where the time of a request goes, operation by operation, and write it for Perfetto.",
        _trace,
    ),
    "debug": ("Boot the kernel stopped, for gdb, which shows it line by line in Python.", _debug),
    "compile": ("Compile one file of the language and show what becomes of it.", _compile),
    "report": (
        "Show what the kernel is made of: code by room, stack bounds, unsafe blocks, checks.",
        _report,
    ),
    "bench": (
        "Measure Axiom and llama.cpp in turns on the same model, and print medians and ratios.",
        _bench,
    ),
    "doctor": ("Say what this computer offers, and what to do about what is missing.", _nothing),
}
