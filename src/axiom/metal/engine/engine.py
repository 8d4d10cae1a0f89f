"""The engine: one sequence at a time, one step of the schedule at a time, on any number of lanes.

    bind -> start -> advance (WORK), share on every lane, advance ... TOKEN ... advance ... DONE

`make_engine` specialises all of it for one model. Read `schedule` for what a token costs, `forward` for
what an operation does, `sequence` for the state.
"""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.link import (
    FLAG_IGNORE_EOS,
    FLAG_PROMPT_LOGITS,
    FLAG_TRACE,
    MAX_EOS_IDS,
    DoneReason,
    StartMessage,
)
from axiom.abi.trace import TraceRecord
from axiom.lang import (
    Slice,
    array,
    atomic_add,
    f32,
    fill_zero,
    fn,
    i32,
    minimum,
    reinterpret,
    static,
    static_var,
    table,
    u8,
    u32,
    u64,
    urange,
    volatile_store,
)
from axiom.metal.engine.activations import plan_activations
from axiom.metal.engine.forward import Share, make_execute
from axiom.metal.engine.kv_cache import kv_cache_bytes
from axiom.metal.engine.operation import OperationKind, OperationRecord
from axiom.metal.engine.sampler import random_bits, sample
from axiom.metal.engine.schedule import Schedule, build_schedule
from axiom.metal.engine.sequence import EngineState, Phase, StartStatus, StepEvent
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.engine.trace import TRACE_BYTES, clear_trace, note
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.ops.digest import logits_digest

# Of the parts that a step is shared out in, as many for each lane, and as many of them its own: the others
# go to who is first through, one by one. Processors are not equally fast, least of all those of a virtual
# machine; when the first one is through, the others have a part left at most. Of a batch, a lane does some
# of its own at a time, of a token all, which keeps what it reads of the weights in one stream.
PARTS_PER_LANE = 16
OWN_PARTS = 12
OWN_PARTS_AT_A_TIME = 4
# Two cache lines, because processors fetch lines in pairs.
LINE_WORDS = 16


@dataclass(frozen=True)
class Engine:
    """The functions of one model's engine, and its schedule.

    bind(state, weights, kv_cache, activations): give it its memory; once.
    start(state, request, prompt): take a request when idle; the prompt is copied.
    advance(state): decide what comes next. WORK: every lane must do its share before the next call.
      TOKEN: a token was sampled; state.token, token_index, token_cycles and logits() describe it.
      PROMPT_LOGITS: logits() are those of the prompt's position state.position + first_row. DONE, once
      per sequence, after its last token: state.finish_reason.
    share(state, lane, n_lanes): do one lane's part of the step.
    trace_ring(state, lane): the lane's trace; it is filled while a request has FLAG_TRACE.
    cancel(state): end the running sequence; DONE comes next.
    """

    spec: EngineSpec
    schedule: Schedule
    bind: Callable[[EngineState, Slice[u8], Slice[u8], Slice[u8]], None]
    start: Callable[[EngineState, StartMessage, Slice[u32]], StartStatus]
    advance: Callable[[EngineState], StepEvent]
    share: Callable[[EngineState, u32, u32], None]
    trace_ring: Callable[[EngineState, u32], Slice[u8]]
    cancel: Callable[[EngineState], None]


@fn
def parameters_are_valid(request: StartMessage) -> bool:
    """Tell whether every parameter is in its range; NaN is in none."""
    if request.max_new == 0 or request.n_eos > MAX_EOS_IDS:
        return False
    if not (request.temperature >= 0.0 and request.temperature < float("inf")):
        return False
    return request.top_p > 0.0 and request.top_p <= 1.0


@fn
def ends_sequence(request: StartMessage, token: u32) -> bool:
    """Tell whether a token is one of the request's end-of-sequence ids and they count."""
    if request.flags & FLAG_IGNORE_EOS != 0:
        return False
    found: bool = False
    for i in urange(request.n_eos):
        found = found or request.eos_ids[i] == token
    return found


@fn
def finish(state: EngineState, reason: DoneReason) -> None:
    """End the sequence."""
    state.finish_reason = reason
    state.phase = Phase.FINISHED
    state.working = False
    state.end_cycles = now_cycles()


@fn
def cancel(state: EngineState) -> None:
    """End the running sequence, if there is one."""
    if state.phase == Phase.RUNNING:
        finish(state, DoneReason.CANCELLED)


@fn
def tell_nobody() -> None:
    """Be the `progress` of an engine whose lanes nobody watches."""


def make_engine(spec: EngineSpec, progress: Callable[[], None] = tell_nobody) -> Engine:
    """Specialise the engine for a model.

    progress: what lane 0 calls after each of its parts of a step, which may be long ones.
    """
    schedule = build_schedule(spec)
    execute = make_execute(spec, schedule)
    records = table(OperationRecord, [operation.record() for operation in schedule.operations])
    at, n_vocab, n_context = plan_activations(spec), spec.shape.n_vocab, spec.n_context
    kv_bytes, output_start, n_batch = kv_cache_bytes(spec), schedule.output_start, spec.n_batch
    n_lanes = spec.n_lanes
    taken_parts = static_var(array(u64, LINE_WORDS), align=LINE_WORDS * 8)

    @fn
    def prompt_tokens(state: EngineState) -> Slice[u32]:
        return reinterpret(u32, state.activations.part(at.tokens.offset, at.tokens.bytes))

    @fn
    def padded_logits(state: EngineState) -> Slice[f32]:
        return reinterpret(f32, state.activations.part(at.logits.offset, at.logits.bytes))

    @fn
    def bind(state: EngineState, weights: Slice[u8], kv_cache: Slice[u8], activations: Slice[u8]) -> None:
        assert kv_cache.length >= kv_bytes, "the KV cache region is too small"
        assert activations.length >= at.bytes, "the activations region is too small"
        for buffer in static(at.padded()):
            fill_zero(activations.part(buffer.offset, buffer.bytes))
        state.weights = weights
        state.kv_cache = kv_cache
        state.activations = activations
        state.logits_view = padded_logits(state).part(0, n_vocab)
        for lane in urange(u32(n_lanes)):
            clear_trace(trace_ring(state, lane))
        state.phase = Phase.IDLE

    @fn
    def trace_ring(state: EngineState, lane: u32) -> Slice[u8]:
        assert lane < n_lanes, "there is no such lane"
        return state.activations.part(u64(lane) * TRACE_BYTES + at.trace.offset, u64(TRACE_BYTES))

    @fn
    def begin_batch(state: EngineState, position: u32) -> None:
        """Begin the walk for the tokens from `position` on: what is left of the prompt, or one token."""
        n_left = state.n_prompt - position if position < state.n_prompt else u32(1)
        state.position = position
        state.n_batched = minimum(n_left, u32(n_batch))
        state.n_tokens = state.n_batched
        state.first_row = u32(0)
        state.operation = u32(0)
        state.piece = u32(0)
        state.working = False

    @fn
    def begin_output(state: EngineState, row: u32) -> None:
        """Begin the output part for one token of the batch."""
        state.first_row = row
        state.n_tokens = u32(1)
        state.operation = u32(output_start)
        state.piece = u32(0)

    @fn
    def start(state: EngineState, request: StartMessage, prompt: Slice[u32]) -> StartStatus:
        if state.phase != Phase.IDLE:
            return StartStatus.BUSY
        if prompt.length == 0:
            return StartStatus.PROMPT_EMPTY
        if prompt.length > n_context:
            return StartStatus.PROMPT_TOO_LONG
        if not parameters_are_valid(request):
            return StartStatus.BAD_PARAMETERS
        tokens = prompt_tokens(state)
        for i in urange(prompt.length):
            if prompt[i] >= n_vocab:
                return StartStatus.BAD_TOKEN
            tokens[i] = prompt[i]
        state.request = request
        state.finish_reason = DoneReason.NONE
        state.n_prompt = u32(prompt.length)
        state.n_generated = u32(0)
        state.logits_digest = u32(0)
        state.first_token_cycles = u64(0)
        state.end_cycles = u64(0)
        for lane in urange(u32(n_lanes)):
            clear_trace(trace_ring(state, lane))
        begin_batch(state, u32(0))
        state.start_cycles = now_cycles()
        state.phase = Phase.RUNNING
        return StartStatus.OK

    @fn
    def sample_token(state: EngineState) -> StepEvent:
        request = state.request
        logits = padded_logits(state)
        state.logits_digest = logits_digest(state.logits_digest, state.logits_view)
        workspace = state.activations.part(at.draw_weights.offset, at.draw_weights.bytes)
        token = sample(
            logits,
            reinterpret(i32, workspace),
            n_vocab,
            request.temperature,
            request.top_k,
            request.top_p,
            random_bits(request.seed, state.n_generated),
        )
        state.token = token
        state.token_index = state.n_generated
        state.token_cycles = now_cycles()
        if state.n_generated == 0:
            state.first_token_cycles = state.token_cycles
        state.n_generated += 1
        if ends_sequence(request, token):
            finish(state, DoneReason.EOS)
        elif state.n_generated == request.max_new:
            finish(state, DoneReason.LENGTH)
        elif state.position + state.n_batched == n_context:
            finish(state, DoneReason.CONTEXT_FULL)
        else:
            position = state.position + state.n_batched
            prompt_tokens(state)[position] = token
            begin_batch(state, position)
        return StepEvent.TOKEN

    @fn
    def is_inside_prompt(state: EngineState) -> bool:
        """Tell whether the token in the output part is followed by another one of the prompt."""
        return state.position + state.first_row + 1 < state.n_prompt

    @fn
    def finish_step(state: EngineState) -> None:
        """Go on to the next piece, the next step, the output part or the next batch."""
        state.working = False
        state.piece += 1
        if state.n_tokens > 1 and state.piece < records[state.operation].n_pieces:
            return
        state.piece = u32(0)
        while not records[state.operation].ends_step:
            state.operation += 1
        state.operation += 1
        if state.operation != output_start:
            return
        if state.request.flags & FLAG_PROMPT_LOGITS != 0:
            begin_output(state, u32(0))
        elif state.position + state.n_batched < state.n_prompt:
            begin_batch(state, state.position + state.n_batched)
        else:
            begin_output(state, state.n_batched - 1)

    @fn
    def after_prompt_logits(state: EngineState) -> None:
        """Go on after the logits of a prompt's token that is not the last."""
        if state.first_row + 1 < state.n_batched:
            begin_output(state, state.first_row + 1)
        else:
            begin_batch(state, state.position + state.n_batched)

    @fn
    def advance(state: EngineState) -> StepEvent:
        if state.phase == Phase.IDLE:
            return StepEvent.IDLE
        if state.phase == Phase.FINISHED:
            state.phase = Phase.IDLE
            return StepEvent.DONE
        if state.working:
            finish_step(state)
        if state.told_prompt_logits:
            state.told_prompt_logits = False
            after_prompt_logits(state)
        if records[state.operation].kind == OperationKind.SAMPLE:
            if is_inside_prompt(state):
                state.told_prompt_logits = True
                return StepEvent.PROMPT_LOGITS
            return sample_token(state)
        state.working = True
        volatile_store(taken_parts.all, 0, u64(0))
        return StepEvent.WORK

    @fn
    def trace_operation(state: EngineState, part: Share, operation: u32, begin: u64) -> None:
        made = TraceRecord(
            operation=operation,
            position=state.position,
            n_tokens=state.n_tokens,
            part=u32(part.first),
            begin_cycles=begin,
            end_cycles=now_cycles(),
        )
        note(trace_ring(state, u32(part.lane)), made)

    @fn(inline="never")
    def do_part(state: EngineState, part: Share) -> None:
        """Do the operations of the step for a part of it."""
        number = state.operation
        tracing = state.request.flags & FLAG_TRACE != 0
        through = False
        while not through:
            record = records[number]
            begin = now_cycles()
            execute(state, record, part)
            if tracing:
                trace_operation(state, part, number, begin)
            through = record.ends_step
            number += 1

    @fn
    def do_parts(state: EngineState, lane: u64, first: u64, count: u64, of: u64) -> None:
        """Do parts [first, first + count) of `of`."""
        do_part(state, Share(lane=lane, first=first, last=first + count, of=of))
        if lane == 0:
            progress()

    @fn
    def do_own_and_take(state: EngineState, lane: u64, start: u64, n_lanes: u64, of: u64) -> None:
        """Do the lane's own parts of those from `start` on, and of the others what nobody has taken."""
        n_own = u64(OWN_PARTS) if n_lanes > 1 else u64(PARTS_PER_LANE)
        at_a_time = u64(OWN_PARTS_AT_A_TIME) if state.n_tokens > 1 else n_own
        own = u64(0)
        while own < n_own:
            do_parts(state, lane, start + lane * n_own + own, at_a_time, of)
            own += at_a_time
        taken = n_lanes * n_own
        while taken < n_lanes * PARTS_PER_LANE:
            taken = n_lanes * n_own + atomic_add(taken_parts.all, 0, u64(1))
            if taken < n_lanes * PARTS_PER_LANE:
                do_parts(state, lane, start + taken, u64(1), of)

    @fn
    def share(state: EngineState, lane: u32, lanes: u32) -> None:
        record = records[state.operation]
        n_lanes = u64(lanes)
        piece = u64(state.piece)
        n_pieces = u64(record.n_pieces) if state.n_tokens > 1 else u64(1)
        if record.is_shared_out:
            n_parts = n_lanes * PARTS_PER_LANE
            do_own_and_take(state, u64(lane), piece * n_parts, n_lanes, n_pieces * n_parts)
        else:
            do_parts(state, u64(lane), piece * n_lanes + u64(lane), u64(1), n_pieces * n_lanes)

    return Engine(spec, schedule, bind, start, advance, share, trace_ring, cancel)
