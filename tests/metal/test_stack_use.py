"""What the kernel uses of its painted stacks stays within what the build has proved of its machine code."""

from pathlib import Path
from typing import Any

import pytest

from axiom.abi.boot import ExitCode
from axiom.compiler.stack_bound import stack_bounds
from axiom.host.cache import cache_dir
from axiom.host.image.build import build_image
from axiom.host.image.stack import PANIC_ENTRY, RING0, STACK_SWITCHES, image_stack_bounds
from axiom.host.machine.crash_report import parse_crash
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import MachineName, SessionOptions, open_session, plan_for
from axiom.host.model.pack import packed_model
from axiom.host.serve.generate import generate
from axiom.lang import (
    array,
    fn,
    slice_at,
    static_var,
    u8,
    u32,
    u64,
    unsafe,
    urange,
    volatile_load,
    write_to,
)
from axiom.metal.arch.gates import ring0_stack_used
from axiom.metal.arch.stacks import PAINT, WORD_BYTES, exception_stack, paint, used_bytes
from axiom.metal.arch.vectors import EXCEPTION_STACK_BYTES
from axiom.metal.kernel.log import log
from axiom.models import bundled_model_path
from tests.support.boot_image import MACHINES, boot
from tests.support.mapped_kernel import make_kernel
from tests.support.metal import build_image as build_test_image
from tests.support.metal import require_accelerator
from tests.support.targets import TARGETS, run

PROMPT = tuple(range(1, 60))
N_TOKENS = 24
RUN_STACK_LIMIT_BYTES = 64 << 10
# The counter of abi.boot.Counters for each entry point that serving goes through.
COUNTERS = {
    "axiom_main": "boot_stack_bytes",
    "axiom_run": "run_stack_bytes",
    "axiom_lane": "lane_stack_bytes",
    RING0: "ring0_stack_bytes",
}


@pytest.mark.parametrize("n_lanes", [1, 2])
@pytest.mark.parametrize("machine", ["tcg", "kvm"])
def test_serving_stays_within_the_proved_bounds(machine: MachineName, n_lanes: int) -> None:
    require_accelerator(machine)
    model = packed_model(bundled_model_path())
    cache = cache_dir()
    with open_session(model, SessionOptions(machine, cpus=n_lanes, cache=cache)) as session:
        request = StartRequest(1, list(PROMPT), N_TOKENS, ignore_eos=True)
        generate(session.link, session.boot.tsc_hz, model.tokenizer, request)
        session.link.ask_counters()
        event: Any = session.link.next_event(10.0)
    plan = plan_for(model, None, n_lanes=n_lanes)
    image = build_image(plan.config, cache)
    bounds = image_stack_bounds(plan.config, image.path)
    assert bounds["axiom_run"].bytes < RUN_STACK_LIMIT_BYTES
    used = {entry: event.counters[name] for entry, name in COUNTERS.items()}
    if n_lanes == 1:
        assert used.pop("axiom_lane") == 0
    for entry, high_water in used.items():
        assert 0 < high_water <= bounds[entry].bytes, entry
    # The matrix operations keep their blocks on the stack of whoever does them.
    assert used["axiom_run"] > 4096
    assert n_lanes == 1 or used["axiom_lane"] > 4096


@fn
def read_null() -> None:
    # SAFETY: faults on purpose.
    with unsafe:
        place = slice_at(u8, u64(0), 1)
    volatile_load(place, 0)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_report_of_an_exception_says_what_it_used_of_its_stack(machine: str, tmp_path: Path) -> None:
    image = build_test_image(tmp_path / "image.elf", make_kernel(read_null))
    outcome = boot(machine, image)
    crash = parse_crash(outcome.text)
    assert outcome.code == ExitCode.CRASH
    assert crash is not None
    bound = stack_bounds(image, ["axiom_exception"], STACK_SWITCHES, PANIC_ENTRY)["axiom_exception"].bytes
    assert 64 < crash.stack_bytes <= bound < EXCEPTION_STACK_BYTES


@fn
def tell_untouched_stacks() -> None:
    write_to(log, f"{used_bytes(exception_stack())} {ring0_stack_used(u32(0))} {ring0_stack_used(u32(1))}")
    log.end()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_stack_that_nothing_ran_on_is_unused(machine: str, tmp_path: Path) -> None:
    kernel = make_kernel(tell_untouched_stacks, watchdog=False)
    outcome = boot(machine, build_test_image(tmp_path / "image.elf", kernel))
    exception, first, second = (int(word) for word in outcome.text.split())
    assert outcome.code == ExitCode.OK
    assert (exception, second) == (0, 0)
    assert 40 <= first < 200


words = static_var(array(u64, 64))


@fn
def use_and_measure(depth: u64) -> u64:
    paint(words.all)
    for i in urange(depth):
        # Zeros, too, are use, and a word that holds the pattern by chance hides no lower one.
        words[63 - i] = u64(0) if i % 2 == 0 else u64(PAINT)
    return used_bytes(words.all)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("depth", "words_used"), [(0, 0), (1, 1), (2, 1), (7, 7), (63, 63)])
def test_the_lowest_word_that_changed_counts(target: str, depth: int, words_used: int) -> None:
    assert run(target, use_and_measure, u64(depth)) == words_used * WORD_BYTES
