"""The engine: one sequence at a time, one operation per step.

    bind -> start -> step, step, ... TOKEN ... step ... DONE

`make_engine` specialises all of it for one model. Read `schedule` for what a token costs, `forward` for
what an operation does, `sequence` for the state.
"""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.link import FLAG_IGNORE_EOS, MAX_EOS_IDS, DoneReason, StartMessage
from axiom.lang import Slice, f32, fill_zero, fn, i32, reinterpret, table, u8, u32, u64, urange
from axiom.metal.engine.activations import plan_activations
from axiom.metal.engine.forward import make_execute
from axiom.metal.engine.kv_cache import kv_cache_bytes
from axiom.metal.engine.operation import OperationKind, OperationRecord
from axiom.metal.engine.sampler import random_bits, sample
from axiom.metal.engine.schedule import Schedule, build_schedule
from axiom.metal.engine.sequence import EngineState, Phase, StartStatus, StepEvent
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.ops.digest import logits_digest


@dataclass(frozen=True)
class Engine:
    """The functions of one model's engine, and its schedule.

    bind(state, weights, kv_cache, activations): give it its memory; once.
    start(state, request, prompt): take a request when idle; the prompt is copied.
    step(state): run one operation. TOKEN: a token was sampled; state.token, token_index, token_cycles
      and logits() describe it. DONE, once per sequence, after its last token: state.finish_reason.
    cancel(state): end the running sequence; the next step gives DONE.
    """

    spec: EngineSpec
    schedule: Schedule
    bind: Callable[[EngineState, Slice[u8], Slice[u8], Slice[u8]], None]
    start: Callable[[EngineState, StartMessage, Slice[u32]], StartStatus]
    step: Callable[[EngineState], StepEvent]
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
    state.end_cycles = now_cycles()


@fn
def cancel(state: EngineState) -> None:
    """End the running sequence, if there is one."""
    if state.phase == Phase.RUNNING:
        finish(state, DoneReason.CANCELLED)


def make_engine(spec: EngineSpec) -> Engine:
    """Specialise the engine for a model."""
    schedule = build_schedule(spec)
    execute = make_execute(spec, schedule)
    records = table(OperationRecord, [operation.record() for operation in schedule.operations])
    at, n_vocab, n_context = plan_activations(spec), spec.shape.n_vocab, spec.n_context
    kv_bytes, output_start = kv_cache_bytes(spec), schedule.output_start

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
        fill_zero(activations)
        state.weights = weights
        state.kv_cache = kv_cache
        state.activations = activations
        state.logits_view = padded_logits(state).part(0, n_vocab)
        state.phase = Phase.IDLE

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
        state.operation = u32(0)
        state.n_prompt = u32(prompt.length)
        state.position = u32(0)
        state.input_token = prompt[0]
        state.n_generated = u32(0)
        state.logits_digest = u32(0)
        state.first_token_cycles = u64(0)
        state.end_cycles = u64(0)
        state.start_cycles = now_cycles()
        state.phase = Phase.RUNNING
        return StartStatus.OK

    @fn
    def next_position(state: EngineState, token: u32) -> None:
        state.position += 1
        state.input_token = token
        state.operation = u32(0)

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
        elif state.position + 1 == n_context:
            finish(state, DoneReason.CONTEXT_FULL)
        else:
            next_position(state, token)
        return StepEvent.TOKEN

    @fn
    def step(state: EngineState) -> StepEvent:
        if state.phase == Phase.IDLE:
            return StepEvent.IDLE
        if state.phase == Phase.FINISHED:
            state.phase = Phase.IDLE
            return StepEvent.DONE
        record = records[state.operation]
        if record.kind == OperationKind.SAMPLE:
            return sample_token(state)
        execute(state, record)
        state.operation += 1
        if state.operation == output_start and state.position + 1 < state.n_prompt:
            next_position(state, prompt_tokens(state)[state.position + 1])
        return StepEvent.BUSY

    return Engine(spec, schedule, bind, start, step, cancel)
