"""`axiom verify`: what the kernel's memory really is, told by the kernel that runs in it."""

import json
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from axiom.abi.boot import RegionKind
from axiom.host.cli.models import open_model, parse_size, processors
from axiom.host.cli.run import kv_name, load_name, machine_name
from axiom.host.machine.backing import memory_backing
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.region_speed import MEASURED_KINDS, RegionSpeed, measure_region
from axiom.host.machine.session import Session, open_session, plan_for


@dataclass(frozen=True)
class VerifyOptions:
    """What the command line said."""

    model: str | None
    json: bool
    machine: str
    cpus: int | None
    memory: str | None
    context: int | None
    kv: str | None
    load: str


def verify_machine(options: VerifyOptions, console: Console) -> None:
    """Boot, measure every region that the engine reads, shut down (which checks the digests), and print."""
    machine = machine_name(options.machine)
    cpus, _ = processors(options.cpus)
    kv_type = kv_name(options.kv)
    wanted = SessionOptions(
        machine=machine,
        cpus=cpus,
        memory_bytes=parse_size(options.memory),
        n_context=options.context,
        load=load_name(options.load),
        kv_type=kv_type,
    )
    model = open_model(options.model, console)
    plan = plan_for(model, options.context, cpus, kv_type)
    planned = {region.kind: region.bytes for region in plan.config.regions}
    planned[RegionKind.WEIGHTS] = model.weights_bytes
    with open_session(model, wanted) as session:
        boot = session.boot
        speeds = {
            kind: measure_region(session.link, boot.tsc_hz, kind, planned[kind], boot.n_lanes)
            for kind in MEASURED_KINDS
        }
        backing = memory_backing(session.process_id)
    rows = _rows(session, planned, speeds)
    if options.json:
        facts = {"model": model.name, "machine": session.machine, "n_lanes": boot.n_lanes}
        print(json.dumps({**facts, "host_memory": backing, "regions": rows}))
        return
    _show(model.name, session, rows, backing)


def _rows(
    session: Session, planned: dict[RegionKind, int], speeds: dict[RegionKind, RegionSpeed]
) -> list[dict[str, Any]]:
    """Return a row per region: as the kernel mapped them, or, in a process, as the plan has them."""
    known: list[dict[str, Any]] = [
        {
            "name": region.kind.name.lower(),
            "kind": region.kind,
            "address": region.address,
            "bytes": region.bytes,
            "page_bytes": region.page_bytes,
        }
        for region in session.boot.regions
    ]
    if not known:
        known = [{"name": k.name.lower(), "kind": k, "bytes": planned[k]} for k in MEASURED_KINDS]
    for row in known:
        speed = speeds.get(row.pop("kind"))
        if speed is not None:
            row |= {"by_core_gb_s": speed.by_core_gb_s, "together_gb_s": speed.together_gb_s}
    return known


def _show(name: str, session: Session, rows: list[dict[str, Any]], backing: dict[str, int]) -> None:
    out = Console(highlight=False, soft_wrap=True)
    table = Table(
        "region", "address", "bytes", "pages", "GB/s by core", "together", box=None, pad_edge=False
    )
    for row in rows:
        by_core = " ".join(f"{one:.1f}" for one in row.get("by_core_gb_s", ()))
        together = f"{row['together_gb_s']:.1f}" if "together_gb_s" in row else ""
        place = f"{row['address']:#x}" if "address" in row else "-"
        pages = f"{row['page_bytes'] >> 10} KiB" if row.get("page_bytes") else "-"
        table.add_row(row["name"], place, f"{row['bytes']:,}", pages, by_core, together)
    out.print(table)
    where = "in this process" if session.machine == "hosted" else f"on {session.machine}"
    out.print(f"{name}, {session.boot.n_lanes} lanes {where}")
    if session.boot.regions:
        # A kernel that finds a damaged chunk, now or when it shuts down, ends with an error instead.
        out.print("Every region is one contiguous range; the digests of all weights are right.")
    for field, count in backing.items():
        out.print(f"this computer: {field.removesuffix('_bytes').replace('_', ' ')} {count >> 20:,} MiB")
