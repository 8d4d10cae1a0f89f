"""The command line: arguments and text, nothing else.

Data goes to stdout, everything else to stderr. Every error that a user can meet is one sentence; exit
status 2 is the user's to mend, 3 the machine's, 70 a crash of the kernel.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from axiom.host.errors import AxiomError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="axiom",
    help="Run a language model on a kernel that does nothing else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ModelArgument = Annotated[
    str | None, typer.Argument(metavar="[MODEL.gguf]", help="A GGUF file; the bundled model when left out.")
]
MachineOption = Annotated[str, typer.Option(help="auto, kvm, tcg or hosted.")]
LoadOption = Annotated[
    str, typer.Option(help="map the model into the machine's memory, have it read from nvme, or auto.")
]
CpusOption = Annotated[int | None, typer.Option(help="Processors of the machine; all when left out.")]
ContextOption = Annotated[
    int | None, typer.Option(help="Positions that the KV cache holds; up to 4096 by default.")
]


def error_console() -> "Console":
    """Return the terminal, or what stands for it, as far as errors and progress go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def run(
    model: ModelArgument = None,
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="The text to go on from.")] = "",
    count: Annotated[int, typer.Option("-n", help="The most tokens to generate.")] = 256,
    temp: Annotated[float, typer.Option(help="Temperature; 0 always takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Choose among this many tokens; 0 for all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Choose among tokens of this much probability.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Repeat a draw; random when left out.")] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Go on after the end of the text.")
    ] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help="Print token ids on one line instead of text.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    machine: MachineOption = "auto",
    cpus: CpusOption = None,
    memory: Annotated[str | None, typer.Option(help="Memory of the machine, such as 512M or 4G.")] = None,
    context: ContextOption = None,
    load: LoadOption = "auto",
    link: Annotated[
        str, typer.Option(help="Talk to the kernel over a ring in shared memory, over its uart, or auto.")
    ] = "auto",
) -> None:
    """Boot the kernel with a model and stream what it generates."""
    from axiom.host.cli.run import RunOptions, run_model

    options = RunOptions(
        model,
        prompt,
        count,
        temp,
        top_k,
        top_p,
        seed,
        ignore_eos,
        ids,
        json,
        machine,
        cpus,
        memory,
        context,
        load,
        link,
    )
    run_model(options)


@app.command()
def plan(
    model: ModelArgument = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    memory: Annotated[str | None, typer.Option(help="Memory of the machine, such as 512M or 4G.")] = None,
    context: ContextOption = None,
    cpus: CpusOption = None,
    load: LoadOption = "auto",
    bandwidth: Annotated[
        float | None, typer.Option(help="Memory bandwidth in GB/s to reckon with; measured when left out.")
    ] = None,
) -> None:
    """Show the memory plan of a model: every region, and what a token costs. Nothing boots."""
    from axiom.host.cli.plan import PlanOptions, show_plan

    show_plan(PlanOptions(model, json, memory, context, cpus, load, bandwidth), error_console())


@app.command()
def trace(
    model: ModelArgument = None,
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="The text to go on from.")] = "",
    count: Annotated[int, typer.Option("-n", min=1, help="The tokens to generate.")] = 16,
    machine: MachineOption = "auto",
    cpus: Annotated[int, typer.Option(min=1, max=64, help="Processors of the machine.")] = 1,
    context: ContextOption = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("trace.json"),
) -> None:
    """Show where the time of a request goes, operation by operation, and write it for Perfetto."""
    from axiom.host.cli.trace import TraceOptions, trace_model

    trace_model(TraceOptions(model, prompt, count, machine, cpus, context, output), error_console())


@app.command(name="compile")
def compile_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="A file of the language.")],
    emit: Annotated[
        str, typer.Option(help="ir, asm, listing (assembly below its Python) or obj.")
    ] = "listing",
    cpu: Annotated[str, typer.Option(help="baseline, v3 or v4vnni.")] = "v3",
    level: Annotated[int, typer.Option("-O", min=0, max=3, help="How hard to optimise.")] = 3,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write; stdout when left out.")
    ] = None,
) -> None:
    """Compile one file of the language and show what becomes of it."""
    from axiom.host.cli.compile import show_compiled

    show_compiled(file, emit, cpu, level, output)


@app.command()
def report(
    model: ModelArgument = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    context: ContextOption = None,
) -> None:
    """Show what the kernel is made of: code by room, stack bounds, unsafe blocks, checks."""
    from axiom.host.cli.report import show_report

    show_report(model, json, context, error_console())


@app.command()
def bench(
    model: ModelArgument = None,
    peer: Annotated[str, typer.Option(help="llama.cpp, or none.")] = "llama.cpp",
    machine: MachineOption = "auto",
    cpus: Annotated[int, typer.Option(min=1, max=64, help="Processors of both arms.")] = 1,
    context: ContextOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds and shorter prompts.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens to take the jitter from; 2,000 when left out.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw latencies and bandwidth as a PNG.")] = None,
) -> None:
    """Measure Axiom and llama.cpp in turns on the same model, and print medians and ratios."""
    from axiom.host.cli.bench import BenchOptions, bench_model

    bench_model(
        BenchOptions(model, peer, machine, cpus, context, quick, tokens, json, plot), error_console()
    )


@app.command()
def doctor() -> None:
    """Say what this computer offers, and what to do about what is missing."""
    from axiom.host.cli.doctor import examine

    raise typer.Exit(examine())


def main() -> None:
    """Run the command line; render every known error as one sentence."""
    try:
        app()
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
