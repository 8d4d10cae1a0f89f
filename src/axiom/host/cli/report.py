"""`axiom report`: what the kernel is made of."""

import json

from rich.console import Console
from rich.table import Table

from axiom.host.cache import cache_dir
from axiom.host.cli.models import open_model
from axiom.host.image.build import build_image
from axiom.host.image.report import Report, make_report
from axiom.host.machine.session import plan_for


def show_report(argument: str | None, as_json: bool, context: int | None, console: Console) -> None:
    """Build the image of a model and print its facts."""
    model = open_model(argument, console)
    plan = plan_for(model, context)
    made = make_report(plan.config, build_image(plan.config, cache_dir()))
    if as_json:
        print(json.dumps(_facts(made)))
    else:
        _print(made, Console(highlight=False, soft_wrap=True))


def _facts(report: Report) -> dict[str, object]:
    return {
        "code_bytes": report.code_bytes,
        "stack_bound_bytes": {name: bound.bytes for name, bound in report.stack_bounds.items()},
        "stack_bytes": report.stack_bytes,
        "unsafe_blocks": report.unsafe_blocks,
        "bounds_checks": {
            "kept": report.checks_kept.get("bounds", 0),
            "elided": report.checks_elided.get("bounds", 0),
        },
        "checks_kept": report.checks_kept,
        "checks_elided": report.checks_elided,
        "metal_lines": report.metal_lines,
    }


def _print(report: Report, out: Console) -> None:
    rooms = Table("room", "code bytes", "unsafe blocks", box=None, pad_edge=False)
    for room in sorted({*report.code_bytes, *report.unsafe_blocks}):
        rooms.add_row(room, f"{report.code_bytes.get(room, 0):,}", str(report.unsafe_blocks.get(room, 0)))
    total = sum(report.code_bytes.values())
    rooms.add_row("all", f"{total:,}", str(sum(report.unsafe_blocks.values())))
    stacks = Table("entry point", "stack bound", "stack", "deepest path", box=None, pad_edge=False)
    for name, bound in report.stack_bounds.items():
        path = " > ".join(f"{function.rpartition('.')[0] or function}" for function, _ in bound.path[:6])
        stacks.add_row(name, f"{bound.bytes:,}", f"{report.stack_bytes[name]:,}", path)
    checks = Table("check", "kept", "elided", box=None, pad_edge=False)
    for reason, kept in report.checks_kept.items():
        checks.add_row(reason, str(kept), str(report.checks_elided[reason]))
    for table in (rooms, stacks, checks):
        out.print(table)
        out.print()
    out.print(f"{report.metal_lines:,} lines of Python in metal")
