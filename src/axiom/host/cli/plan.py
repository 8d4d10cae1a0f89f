"""`axiom plan`: what a model needs, before anything boots."""

import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from axiom.host.bench.floor import token_floor
from axiom.host.cli.models import open_model, parse_size, processors
from axiom.host.cli.run import kv_name, load_name
from axiom.host.image.build import build_image
from axiom.host.machine.guest_memory import available_bytes
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.prepare import place_session, session_plan
from axiom.host.machine.probes import MachineProbe

PROBE_BYTES = 256 << 20


@dataclass(frozen=True)
class PlanOptions:
    """What the command line said; bandwidth_gb_s None: measure it."""

    model: str | None
    json: bool
    memory: str | None
    context: int | None
    cpus: int | None
    load: str
    bandwidth_gb_s: float | None
    kv: str | None


def show_plan(wanted: PlanOptions, console: Console) -> None:
    """Print the regions of a model's machine, its memory, and what each kind of operation costs."""
    cpus, _ = processors(wanted.cpus)
    bandwidth_gb_s = wanted.bandwidth_gb_s
    options = SessionOptions(
        cpus=cpus,
        memory_bytes=parse_size(wanted.memory),
        n_context=wanted.context,
        load=load_name(wanted.load),
        kv_type=kv_name(wanted.kv),
    )
    model = open_model(wanted.model, console)
    plan = session_plan(model, options)
    image = build_image(plan.config, options.cache_folder)
    memory_bytes, _, placed = place_session(model, options, plan, image)
    spec = plan.config.engine
    facts = {
        "model": model.name,
        "memory_bytes": memory_bytes,
        "available_bytes": available_bytes(),
        "n_context": spec.n_context,
        "kv_type": spec.kv_type,
        "bytes_per_token": plan.bytes_per_token,
        "multiply_adds_per_token": plan.multiply_adds_per_token,
        "regions": [{"name": r.kind.name.lower(), "address": r.address, "bytes": r.bytes} for r in placed],
    }
    if bandwidth_gb_s is None:
        bandwidth_gb_s = _measured(cpus)
    floor = token_floor(plan.operations, bandwidth_gb_s, spec.n_context)
    facts |= {"bandwidth_gb_s": bandwidth_gb_s, "floor": [vars(one) for one in floor]}
    if wanted.json:
        print(json.dumps(facts))
        return
    table = Table("region", "address", "bytes", box=None, pad_edge=False)
    for region in placed:
        table.add_row(region.kind.name.lower(), f"{region.address:#x}", f"{region.bytes:,}")
    out = Console(highlight=False)
    out.print(table)
    fits = "fits" if memory_bytes <= available_bytes() else "does not fit"
    out.print(
        f"{model.name}: {spec.n_context} positions, KV cache in {spec.kv_type}; reads "
        f"{plan.bytes_per_token:,} bytes of weights and does {plan.multiply_adds_per_token:,} "
        "multiply-adds a token",
        soft_wrap=True,
    )
    out.print(
        f"machine of {memory_bytes >> 20} MiB: {fits} in the {available_bytes() >> 20} MiB available now"
    )
    costs = Table("operation", "times", "bytes", "multiply-adds", "floor", box=None, pad_edge=False)
    for one in floor:
        costs.add_row(
            one.name,
            str(one.count),
            f"{one.bytes_read:,}",
            f"{one.multiply_adds:,}",
            f"{one.floor_us:,.1f} us",
        )
    out.print(costs)
    out.print(
        f"one token reads all of that: at {bandwidth_gb_s:.1f} GB/s no faster than "
        f"{1e6 / sum(one.floor_us for one in floor):,.1f} tokens/s with a full context"
    )


def _measured(cpus: int) -> float:
    with MachineProbe(cpus, PROBE_BYTES) as probe:
        return max(probe.read_gb_s() for _ in range(3))
