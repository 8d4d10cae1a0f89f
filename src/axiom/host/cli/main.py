"""The command line: from arguments to one of the commands, and from errors to sentences.

Data goes to stdout, everything else to stderr. Every error that a user can meet is one sentence; exit
status 2 is the user's to mend, 3 the machine's, 70 a crash of the kernel. A command is imported when it is
called for, as each import delays the first token.
"""

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from axiom.host.cli.arguments import Handler, make_parser
from axiom.host.errors import AxiomError

if TYPE_CHECKING:
    from rich.console import Console


def error_console() -> "Console":
    """Return the terminal, or what stands for it, as far as errors and progress go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def _run(given: Namespace) -> None:
    from axiom.host.cli.run import RunOptions, run_model

    run_model(
        RunOptions(
            given.model,
            given.prompt,
            given.count,
            given.temp,
            given.top_k,
            given.top_p,
            given.seed,
            given.ignore_eos,
            given.ids,
            given.json,
            given.machine,
            given.cpus,
            given.memory,
            given.context,
            given.load,
            given.link,
            given.kv,
        )
    )


def _plan(given: Namespace) -> None:
    from axiom.host.cli.plan import PlanOptions, show_plan

    options = PlanOptions(
        given.model,
        given.json,
        given.memory,
        given.context,
        given.cpus,
        given.load,
        given.bandwidth,
        given.kv,
    )
    show_plan(options, error_console())


def _trace(given: Namespace) -> None:
    from axiom.host.cli.trace import TraceOptions, trace_model

    options = TraceOptions(
        given.model,
        given.prompt,
        given.count,
        given.machine,
        given.cpus,
        given.context,
        given.output,
        given.kv,
    )
    trace_model(options, error_console())


def _verify(given: Namespace) -> None:
    from axiom.host.cli.verify import VerifyOptions, verify_machine

    options = VerifyOptions(
        given.model,
        given.json,
        given.machine,
        given.cpus,
        given.memory,
        given.context,
        given.kv,
        given.load,
    )
    verify_machine(options, error_console())


def _debug(given: Namespace) -> None:
    from axiom.host.cli.debug import DebugOptions, debug_model

    options = DebugOptions(
        given.model,
        given.prompt,
        given.count,
        given.breakpoints,
        given.gdb,
        given.machine,
        given.cpus,
        given.context,
    )
    debug_model(options, error_console())


def _compile(given: Namespace) -> None:
    from axiom.host.cli.compile import show_compiled

    show_compiled(given.file, given.emit, given.cpu, given.level, given.output)


def _report(given: Namespace) -> None:
    from axiom.host.cli.report import show_report

    show_report(given.model, given.json, given.context, error_console())


def _bench(given: Namespace) -> None:
    from axiom.host.cli.bench import BenchOptions, bench_model

    options = BenchOptions(
        given.model,
        given.peer,
        given.machine,
        given.cpus,
        given.context,
        given.quick,
        given.tokens,
        given.json,
        given.plot,
        given.kv,
    )
    bench_model(options, error_console())


def _doctor(given: Namespace) -> int:
    from axiom.host.cli.doctor import examine

    return examine()


HANDLERS: dict[str, Handler] = {
    "run": _run,
    "plan": _plan,
    "verify": _verify,
    "trace": _trace,
    "debug": _debug,
    "compile": _compile,
    "report": _report,
    "bench": _bench,
    "doctor": _doctor,
}


def main() -> None:
    """Run the command line; render every known error as one sentence."""
    try:
        parser = make_parser(HANDLERS)
        if len(sys.argv) == 1:
            parser.print_help()
            return
        given = parser.parse_args()
        if "handler" not in given:
            parser.error("no command is given")
        sys.exit(given.handler(given))
    except AxiomError as error:
        whole = error.exit_status == 70 or "\n" in error.message
        console = error_console()
        console.print(error.message if whole else f"axiom: {error.message}", markup=False)
        if error.hint:
            console.print(f"hint: {error.hint}", markup=False)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
