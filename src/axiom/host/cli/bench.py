"""`axiom bench`: Axiom and llama.cpp on the same model, in turns, with the evidence."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from axiom.host.bench.facts import machine_facts
from axiom.host.bench.measure import compare
from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.bench.peer_choice import choose_peer
from axiom.host.bench.plan import FULL, QUICK, Effort, Plan
from axiom.host.bench.report import check_plot, comparison_json, plot
from axiom.host.bench.results import Comparison
from axiom.host.cli.models import open_model, processors
from axiom.host.cli.run import kv_name, machine_name
from axiom.host.errors import MachineError, UserError
from axiom.host.machine.accelerator import kvm_obstacle
from axiom.host.machine.options import MachineName
from axiom.host.machine.session import SessionOptions, plan_for
from axiom.models import bundled_model_path

RUN_SECONDS = 600
REPORT_COLUMNS = 200
START_TEXT = "Once upon a time"


@dataclass(frozen=True)
class BenchOptions:
    """What the command line said."""

    model: str | None
    peer: str
    machine: str
    cpus: int | None
    context: int | None
    quick: bool
    tokens: int | None
    json: bool
    plot: Path | None
    kv: str | None


def bench_model(options: BenchOptions, console: Console) -> None:
    """Measure and print. What can be refused is refused before anything is measured."""
    if options.plot is not None:
        check_plot(options.plot)
    machine = _machine(options.machine, console)
    cpus, cpus_note = processors(options.cpus)
    if cpus_note:
        console.print(cpus_note, markup=False)
    chosen = choose_peer(options.peer)
    model = open_model(options.model, console)
    path = Path(options.model) if options.model is not None else bundled_model_path()
    wanted = SessionOptions(
        machine=machine, cpus=cpus, n_context=options.context, kv_type=kv_name(options.kv)
    )
    n_context = plan_for(model, options.context).config.engine.n_context
    tokens = model.tokenizer.encode(START_TEXT)

    def start_axiom() -> float:
        command = [sys.executable, "-m", "axiom.host.cli", "run", str(path), "-p", START_TEXT]
        command += ["-n", "1", "--json", "--machine", machine, "--cpus", str(cpus)]
        command += ["--context", str(n_context)]
        command += [] if options.kv is None else ["--kv", options.kv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        if done.returncode:
            raise MachineError(f"axiom run ended with status {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)["timings"]["start_to_first_token_ms"]

    def start_peer(setting: PeerSetting) -> float:
        assert chosen.interpreter is not None
        start = time.monotonic()
        with Peer(chosen.interpreter, path, setting, n_context) as peer:
            peer.prefill_seconds(tokens)
            return (time.monotonic() - start) * 1e3

    before = machine_facts()
    plan = Plan(
        model,
        path,
        wanted,
        _effort(options),
        chosen,
        start_axiom,
        start_peer,
        lambda text: console.print(text, markup=False),
    )
    made = compare(plan)
    report = comparison_json(made, {"model": model.name, **before})
    if options.json:
        print(json.dumps(report))
    else:
        _show(made, report["facts"])
    if options.plot is not None:
        plot(made, options.plot)


def _machine(text: str, console: Console) -> MachineName:
    """Return where to measure: never under emulation, whose speed says nothing about a machine."""
    machine = machine_name(text)
    if machine == "tcg":
        raise UserError(
            "a speed under emulation says nothing about this machine.",
            "give --machine hosted, or --machine kvm where /dev/kvm works",
        )
    if machine == "auto" and (obstacle := kvm_obstacle()):
        console.print(f"measuring in a Linux process: {obstacle}", markup=False)
        return "hosted"
    return machine


def _effort(options: BenchOptions) -> Effort:
    effort = QUICK if options.quick else FULL
    return effort if options.tokens is None else replace(effort, jitter_tokens=options.tokens)


def _show(made: Comparison, facts: dict[str, object]) -> None:
    out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else REPORT_COLUMNS)
    for name, value in facts.items():
        out.print(f"{name}: {value}", markup=False)
    _show_agreement(made, out)
    table = Table(
        "metric", "axiom", "peer", "axiom / peer", "spread", "peer's", "", box=None, pad_edge=False
    )
    for one in made.results:
        table.add_row(
            one.metric,
            "-" if one.axiom is None else f"{one.axiom:,.4g}",
            "-" if one.peer is None else f"{one.peer:,.4g}",
            "-" if one.ratio is None else f"{one.ratio:.2f}",
            f"{one.spread:.1%}",
            f"{one.peer_spread:.1%}",
            one.note,
        )
    out.print(table)


def _show_agreement(made: Comparison, out: Console) -> None:
    if made.uncompared:
        out.print(made.uncompared, markup=False)
    lines = [("axiom", made.agreement), ("yardstick: llama.cpp, repacked", made.yardstick)]
    for name, found in lines:
        if found is not None:
            out.print(
                f"{name} and llama.cpp, not repacked, at {found.positions} positions: mean divergence "
                f"{found.mean_divergence:.2e} nats, largest difference {found.max_difference:.3f}, "
                f"same likeliest token {found.top1:.1%}",
                markup=False,
            )
    if made.over_yardstick is not None:
        out.print(f"axiom's divergence is {made.over_yardstick:.2f} times the yardstick's", markup=False)
    if made.limits is not None:
        out.print(
            f"allowed: mean divergence {made.limits.mean_divergence:.2e} nats, "
            f"same likeliest token {made.limits.top1:.1%} ({made.limits.rule})",
            markup=False,
        )
