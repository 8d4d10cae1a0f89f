"""The service: requests from the link to the engine, tokens from the engine to the link.

Two tasks for the scheduler, the same on metal and in a hosted process. What cannot be sent because the
ring is full waits, and the engine waits with it; nothing is lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from axiom.abi.boot import Counters
from axiom.abi.link import (
    FLAG_SEND_LOGITS,
    MAX_LOGITS_PER_FRAME,
    DoneMessage,
    ErrorCode,
    LogitsMessage,
    MeasureMessage,
    MessageType,
    StartMessage,
    TokenMessage,
)
from axiom.abi.trace import MAX_TRACE_RECORDS_PER_FRAME, TRACE_CAPACITY, TraceMessage
from axiom.lang import (
    Target,
    bytes_of,
    fn,
    maximum,
    minimum,
    reinterpret,
    size_of,
    static_var,
    struct,
    struct_in,
    u8,
    u32,
    u64,
    zeroed,
)
from axiom.metal.boot.measure import begin_measure, choose_part, end_measure, measure, read_share
from axiom.metal.engine.engine import Engine
from axiom.metal.engine.sequence import EngineState, Phase, StartStatus, StepEvent
from axiom.metal.engine.trace import count_traced, oldest_traced, traced_bytes
from axiom.metal.kernel.lanes import DEADLINE_CYCLES, HOSTED_DEADLINE_CYCLES, Lanes, make_lanes
from axiom.metal.kernel.link import link, payload, poll_frame, send_error, send_frame
from axiom.metal.kernel.scheduler import Task, TaskStatus, scheduler

LINK_BUDGET_CYCLES = 5_000_000
ENGINE_BUDGET_CYCLES = 200_000_000


class Waiting(IntEnum):
    """What must be sent before the engine goes on."""

    NOTHING = 0
    LOGITS = 1
    TOKEN = 2
    DONE = 3
    PROMPT_LOGITS = 4
    TRACE = 5
    MEASURE = 6


@struct
class ServiceState:
    """The request being served and what waits to be sent of it. wide: use the wider vectors."""

    wide: bool
    waiting: Waiting
    sequence_id: u32
    next_logit: u64
    trace_lane: u32
    next_traced: u64


service = static_var(zeroed(ServiceState))


@dataclass(frozen=True)
class Service:
    """The engine's state, the tasks of lane 0, and the lanes that do its work."""

    state: EngineState
    tasks: tuple[Task, ...]
    lanes: Lanes


@fn
def error_of(status: StartStatus) -> ErrorCode:
    """Return what the host is told when the engine does not take a request."""
    match status:
        case StartStatus.OK:
            return ErrorCode.NONE
        case StartStatus.BUSY:
            return ErrorCode.BUSY
        case StartStatus.PROMPT_EMPTY:
            return ErrorCode.PROMPT_EMPTY
        case StartStatus.PROMPT_TOO_LONG:
            return ErrorCode.PROMPT_TOO_LONG
        case StartStatus.BAD_TOKEN:
            return ErrorCode.BAD_TOKEN
        case StartStatus.BAD_PARAMETERS:
            return ErrorCode.BAD_PARAMETERS


def make_service(
    engine: Engine,
    targets: tuple[Target, ...],
    count_hardware: Callable[[Counters], None],
    hosted: bool,
) -> Service:
    """Return the tasks that serve one engine.

    targets: one processor, or two of which `service.wide` chooses the second at run time.
    count_hardware: fills in the counters that the machine keeps. hosted: the lanes are threads of a
    process.
    """
    state = static_var(zeroed(EngineState))
    start_bytes, n_lanes = size_of(StartMessage), engine.spec.n_lanes

    two_targets = len(targets) == 2

    @fn(target=targets[0], inline="never")
    def advance_narrow() -> StepEvent:
        return engine.advance(state)

    @fn(target=targets[-1], inline="never")
    def advance_wide() -> StepEvent:
        return engine.advance(state)

    @fn(target=targets[0], inline="never")
    def share_narrow(lane: u32, lanes: u32) -> None:
        if measure.running:
            read_share(lane, lanes)
        else:
            engine.share(state, lane, lanes)

    @fn(target=targets[-1], inline="never")
    def share_wide(lane: u32, lanes: u32) -> None:
        if measure.running:
            read_share(lane, lanes)
        else:
            engine.share(state, lane, lanes)

    @fn
    def share(lane: u32, lanes: u32) -> None:
        if two_targets and service.wide:
            share_wide(lane, lanes)
        else:
            share_narrow(lane, lanes)

    lanes = make_lanes(share, hosted, HOSTED_DEADLINE_CYCLES if hosted else DEADLINE_CYCLES)

    @fn
    def step() -> StepEvent:
        event = advance_wide() if two_targets and service.wide else advance_narrow()
        if event != StepEvent.WORK:
            return event
        lanes.run()
        return StepEvent.BUSY

    @fn
    def start_sequence() -> None:
        data = payload()
        if data.length < start_bytes:
            send_error(ErrorCode.BAD_LENGTH, u32(0), data.length)
            return
        request = struct_in(StartMessage, data, 0)
        prompt = data.part(start_bytes, data.length - start_bytes)
        if u64(request.n_prompt) * 4 != prompt.length:
            send_error(ErrorCode.BAD_LENGTH, request.sequence_id, data.length)
            return
        status = engine.start(state, request, reinterpret(u32, prompt))
        if status != StartStatus.OK:
            send_error(error_of(status), request.sequence_id, u64(request.n_prompt))
            return
        service.sequence_id = request.sequence_id

    @fn
    def send_counters() -> None:
        counters = zeroed(Counters)
        count_hardware(counters)
        counters.task_overruns = scheduler.task_overruns
        counters.frames_received = link.received
        counters.frames_sent = link.sent
        counters.frames_bad = link.bad
        send_frame(MessageType.COUNTERS, bytes_of(counters), link.memory.part(0, 0))

    @fn
    def link_step() -> TaskStatus:
        if not poll_frame():
            return TaskStatus.IDLE
        if link.kind == MessageType.START.value:
            start_sequence()
        elif link.kind == MessageType.CANCEL.value:
            engine.cancel(state)
        elif link.kind == MessageType.STATISTICS.value:
            send_counters()
        elif link.kind == MessageType.TRACE.value:
            start_trace()
        elif link.kind == MessageType.MEASURE.value:
            start_measure()
        elif link.kind == MessageType.SHUTDOWN.value:
            return TaskStatus.STOP
        else:
            send_error(ErrorCode.UNKNOWN_MESSAGE, u32(0), u64(link.kind))
        return TaskStatus.WORKED

    @fn
    def send_logits(kind: MessageType, index: u32) -> bool:
        """Send what is left of the logits; index: of the generated token, or the prompt's position."""
        logits = state.logits()
        while service.next_logit < logits.length:
            count = minimum(logits.length - service.next_logit, u64(MAX_LOGITS_PER_FRAME))
            message = LogitsMessage(
                sequence_id=service.sequence_id,
                index=index,
                first=u32(service.next_logit),
                count=u32(count),
            )
            part = reinterpret(u8, logits.part(service.next_logit, count))
            if not send_frame(kind, bytes_of(message), part):
                return False
            service.next_logit += count
        return True

    @fn
    def send_trace() -> bool:
        """Send what is left of the trace, lane by lane, then a frame that says there is no more."""
        while service.trace_lane < n_lanes:
            ring = engine.trace_ring(state, service.trace_lane)
            oldest = oldest_traced(ring)
            first = maximum(service.next_traced, oldest)
            left = minimum(count_traced(ring) - first, u64(TRACE_CAPACITY) - first % TRACE_CAPACITY)
            if left == 0:
                service.trace_lane += 1
                service.next_traced = u64(0)
            else:
                count = minimum(left, u64(MAX_TRACE_RECORDS_PER_FRAME))
                message = TraceMessage(lane=service.trace_lane, count=u32(count), n_lost=oldest)
                records = traced_bytes(ring, first, count)
                if not send_frame(MessageType.TRACE_RECORDS, bytes_of(message), records):
                    return False
                service.next_traced = first + count
        end = TraceMessage(lane=u32(n_lanes), count=u32(0), n_lost=u64(0))
        return send_frame(MessageType.TRACE_RECORDS, bytes_of(end), link.memory.part(0, 0))

    @fn
    def is_busy() -> bool:
        return service.waiting != Waiting.NOTHING or state.phase != Phase.IDLE

    @fn
    def start_trace() -> None:
        """Begin to send the trace; only when no sequence runs."""
        if is_busy():
            send_error(ErrorCode.BUSY, service.sequence_id, u64(0))
            return
        service.trace_lane = u32(0)
        service.next_traced = u64(0)
        service.waiting = Waiting.TRACE

    @fn
    def start_measure() -> None:
        """Take a request to measure; only when no sequence runs."""
        data = payload()
        if data.length != size_of(MeasureMessage):
            send_error(ErrorCode.BAD_LENGTH, u32(0), data.length)
        elif is_busy():
            send_error(ErrorCode.BUSY, service.sequence_id, u64(0))
        else:
            code = choose_part(state, struct_in(MeasureMessage, data, 0))
            if code == ErrorCode.NONE:
                service.waiting = Waiting.MEASURE
            else:
                send_error(code, u32(0), u64(0))

    @fn
    def do_measure() -> bool:
        start = begin_measure()
        lanes.run()
        return end_measure(start)

    @fn
    def send_token() -> bool:
        message = TokenMessage(
            sequence_id=service.sequence_id,
            index=state.token_index,
            token=state.token,
            reserved=u32(0),
            cycles=state.token_cycles,
        )
        return send_frame(MessageType.TOKEN, bytes_of(message), link.memory.part(0, 0))

    @fn
    def send_done() -> bool:
        message = DoneMessage(
            sequence_id=service.sequence_id,
            reason=u32(state.finish_reason),
            n_generated=state.n_generated,
            logits_digest=state.logits_digest,
            start_cycles=state.start_cycles,
            first_token_cycles=state.first_token_cycles,
            end_cycles=state.end_cycles,
        )
        return send_frame(MessageType.DONE, bytes_of(message), link.memory.part(0, 0))

    @fn
    def send_waiting() -> bool:
        """Send what waits; tell whether nothing waits any more."""
        if service.waiting == Waiting.LOGITS:
            if not send_logits(MessageType.LOGITS, state.token_index):
                return False
            service.waiting = Waiting.TOKEN
        at_position = state.position + state.first_row
        if service.waiting == Waiting.PROMPT_LOGITS and not send_logits(
            MessageType.PROMPT_LOGITS, at_position
        ):
            return False
        if service.waiting == Waiting.TRACE and not send_trace():
            return False
        if service.waiting == Waiting.MEASURE and not do_measure():
            return False
        if service.waiting == Waiting.TOKEN and not send_token():
            return False
        if service.waiting == Waiting.DONE and not send_done():
            return False
        service.waiting = Waiting.NOTHING
        return True

    @fn
    def engine_step() -> TaskStatus:
        if service.waiting != Waiting.NOTHING:
            return TaskStatus.WORKED if send_waiting() else TaskStatus.IDLE
        event = step()
        if event == StepEvent.IDLE:
            return TaskStatus.IDLE
        if event == StepEvent.TOKEN:
            service.next_logit = u64(0)
            wanted = state.request.flags & FLAG_SEND_LOGITS != 0
            service.waiting = Waiting.LOGITS if wanted else Waiting.TOKEN
            send_waiting()
        elif event == StepEvent.PROMPT_LOGITS:
            service.next_logit = u64(0)
            service.waiting = Waiting.PROMPT_LOGITS
            send_waiting()
        elif event == StepEvent.DONE:
            service.waiting = Waiting.DONE
            send_waiting()
        return TaskStatus.WORKED

    tasks = (Task("link", link_step, LINK_BUDGET_CYCLES), Task("engine", engine_step, ENGINE_BUDGET_CYCLES))
    return Service(state, tasks, lanes)
