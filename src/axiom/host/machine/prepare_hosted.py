"""From a packed model and options to what serves it in this process."""

from axiom.compiler.diagnostics import CompileError
from axiom.compiler.hosted import load_hosted
from axiom.compiler.object_cache import StoredObject
from axiom.host.errors import ProgramError
from axiom.host.machine.host_processor import hosted_target
from axiom.host.machine.hosted_launch import HostedLaunch
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.prepare import session_plan
from axiom.host.model.packed_file import PackedModel
from axiom.metal.boot.hosted import make_hosted
from axiom.metal.engine.activations import activation_bytes
from axiom.metal.engine.kv_cache import kv_cache_bytes
from axiom.metal.kernel.clock import now_cycles


def prepare_hosted(model: PackedModel, options: SessionOptions) -> tuple[HostedLaunch, StoredObject]:
    """Plan, and compile what is not in the cache. Raises MachineError, UserError or ProgramError."""
    spec = session_plan(model, options).config.engine
    target = hosted_target()
    kernel = make_hosted(spec, target)
    lanes = kernel.lanes
    try:
        hosted = load_hosted(
            [kernel.serve, now_cycles, lanes.set_count, lanes.lane_loop, lanes.stop, lanes.leave]
        )
    except CompileError as error:
        raise ProgramError(str(error)) from None
    launch = HostedLaunch(
        target=target.name,
        model=str(model.path),
        weights_offset=model.weights_offset,
        weights_bytes=model.weights_bytes,
        kv_cache_bytes=kv_cache_bytes(spec),
        activation_bytes=activation_bytes(spec),
        n_lanes=spec.n_lanes,
        serve=hosted.symbol(kernel.serve),
        read_cycles=hosted.symbol(now_cycles),
        set_count=hosted.symbol(lanes.set_count),
        lane_loop=hosted.symbol(lanes.lane_loop),
        stop=hosted.symbol(lanes.stop),
        leave=hosted.symbol(lanes.leave),
    )
    return launch, hosted.stored
