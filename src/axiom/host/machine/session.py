"""A model being served, on a machine or in this process: `with open_session(...) as session:`.

A session knows how it started (stages, regions) and has a `LinkClient`. What goes wrong in the kernel
comes out as one of the host's errors: a crash as its Python traceback, a refusal as a sentence.
What only some sessions need is imported where it is needed, as each import delays the first token.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from axiom.host.machine.events import BootEvent
from axiom.host.machine.link import LinkClient
from axiom.host.machine.options import KvName
from axiom.host.machine.options import MachineName as MachineName
from axiom.host.machine.options import SessionOptions as SessionOptions
from axiom.host.model.packed_file import PackedModel

if TYPE_CHECKING:
    from axiom.host.image.plan import MemoryPlan
    from axiom.host.machine.hosted import HostedMachine
    from axiom.host.machine.launch import Started

READY_SECONDS = 120.0
Stages = dict[str, float]


class Session:
    """How the model is served: the machine's name, the link, the boot report and the stages so far.

    process_id: of the process that is the machine, if it is another than this one.
    """

    def __init__(
        self,
        machine: str,
        note: str,
        link: LinkClient,
        boot: BootEvent,
        stages_ms: Stages,
        process_id: int | None = None,
    ) -> None:
        self.machine, self.note, self.link, self.boot = machine, note, link, boot
        self.stages_ms, self.process_id = stages_ms, process_id


def plan_for(
    model: PackedModel, n_context: int | None, n_lanes: int = 1, kv_type: KvName | None = None
) -> "MemoryPlan":
    """Return the memory plan of a packed model on so many processors."""
    from axiom.host.machine.prepare import session_plan

    return session_plan(model, SessionOptions(cpus=n_lanes, n_context=n_context, kv_type=kv_type))


@contextmanager
def open_session(
    model: PackedModel, options: SessionOptions, started: "Started | HostedMachine | None" = None
) -> Generator[Session]:
    """Serve a packed model until the block ends. Raises UserError, MachineError or CrashError.

    started: what serves this model already with these options, if anything; it is closed at the end.
    """
    if options.machine == "hosted":
        from axiom.host.machine.hosted_session import HostedMachine, hosted_session

        assert started is None or isinstance(started, HostedMachine)
        with hosted_session(model, options, started) as session:
            yield session
    else:
        from axiom.host.machine.machine_session import Started, machine_session

        assert started is None or isinstance(started, Started)
        with machine_session(model, options, started) as session:
            yield session
