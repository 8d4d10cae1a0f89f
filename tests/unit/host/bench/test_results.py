"""From samples to lines: medians, ratios, shares, and what is said when something was not measured."""

import pytest

from axiom.host.bench.agreement import Agreement
from axiom.host.bench.bandwidth import AFTER, BEFORE_AXIOM, BEFORE_PEER, PROBES, medians
from axiom.host.bench.results import Comparison, Result, Work, make_results
from axiom.host.bench.samples import Samples

PROMPTS = (128, 512)
WORK = Work(PROMPTS, 4096, token_bytes=1_100_000_000)


def samples(peer: bool) -> Samples:
    made = Samples()
    places = (BEFORE_AXIOM, BEFORE_PEER, AFTER) if peer else (BEFORE_AXIOM, AFTER)
    for place in places:
        made.add("machine", f"read_{place}_gb_s", *[10.0] * PROBES, *[12.0] * PROBES, *[11.0] * PROBES)
        made.add("machine", f"read_ahead_{place}_gb_s", *[5.5] * 3 * PROBES)
    made.add("axiom", "weights_gb_s", 11.0, 11.0, 10.0)
    arms = [("axiom", 1.0), ("peer", 2.0)] if peer else [("axiom", 1.0)]
    for arm, slower in arms:
        made.add(arm, "round_token_s", 0.1 * slower, 0.2 * slower, 0.3 * slower)
        made.add(arm, "token_s", *(0.1 * slower + i * 1e-6 * slower for i in range(101)))
        for n in PROMPTS:
            made.add(arm, f"prefill_{n}_s", n / 1000 * slower)
        made.add(arm, "start_to_first_token_ms", 50.0 * slower)
        made.add(arm, "extra_memory_bytes", 1000 * slower)
    return made


def lines(made: Samples, work: Work = WORK) -> dict[str, Result]:
    return {one.metric: one for one in make_results(made, work)}


def test_rates_are_medians_and_ratios_are_axiom_over_peer() -> None:
    found = lines(samples(peer=True))
    decode = found["decode_tok_s"]
    assert (decode.axiom, decode.peer, decode.ratio) == pytest.approx((5.0, 2.5, 2.0))
    assert found["prefill_tok_s"].axiom == pytest.approx(1000.0)
    assert found["ttft_128_ms"].axiom == pytest.approx(128.0)
    assert found["ttft_512_ms"].ratio == pytest.approx(0.5)
    assert found["start_to_first_token_ms"].peer == 100.0
    assert found["extra_memory_bytes"].ratio == 0.5
    # 1.1 GB in 0.2 s are 5.5 GB/s, of 12 GB/s in the same round.
    assert found["bandwidth_fraction"].axiom == pytest.approx(5.5 / 12)
    assert "a plain read" in found["bandwidth_fraction"].note
    assert "times 2.00" in found["bandwidth_fraction"].note
    assert "caches" not in found["bandwidth_fraction"].note
    # 4.4 GB in 0.1 s are more than a read reaches.
    assert (
        "caches" in lines(samples(peer=True), Work(PROMPTS, 4096, 4_400_000_000))["bandwidth_fraction"].note
    )
    # 1.1 GB in 0.1, 0.2 and 0.3 s, where the weights are read at 11, 11 and 10 GB/s.
    assert found["weights_bandwidth_fraction"].axiom == pytest.approx(0.5)
    assert found["weights_bandwidth_fraction"].ratio is None
    assert decode.spread > 0
    assert decode.peer_spread == pytest.approx(decode.spread)


def test_jitter_is_a_tail_and_is_compared_with_the_machines_own() -> None:
    made = samples(peer=True)
    found = lines(made)
    assert found["jitter_us"].axiom == pytest.approx(49.0)
    assert found["jitter_us"].ratio == pytest.approx(0.5)
    assert "jitter_over_floor" not in found
    made.add("machine", "floor_s", *(0.2 + i * 0.5e-6 for i in range(101)))
    over = lines(made)["jitter_over_floor"]
    assert over.axiom == pytest.approx(2.0)
    assert over.peer == pytest.approx(4.0)


def test_without_a_peer_there_are_no_ratios() -> None:
    for one in lines(samples(peer=False)).values():
        assert one.peer is None
        assert one.ratio is None


def test_what_the_machine_does_not_count_is_said() -> None:
    made = samples(peer=True)
    assert lines(made)["joules_per_token"] == Result(
        "joules_per_token", None, None, None, 0.0, note="not measurable here"
    )
    made.add("axiom", "joules_per_token", 3.0)
    assert lines(made)["joules_per_token"].axiom == 3.0


def test_a_long_context_is_compared_with_a_short_one() -> None:
    made = samples(peer=True)
    assert "late_decode_fraction" not in lines(made)
    made.add("machine", "late_position", 4084)
    made.add("axiom", "late_token_s", 0.25)
    made.add("peer", "late_token_s", 0.8)
    late = lines(made)["late_decode_fraction"]
    assert (late.axiom, late.peer) == pytest.approx((0.8, 0.5))
    assert "4,084" in late.note


def test_a_share_is_of_what_the_same_minute_had_in_the_faster_way() -> None:
    made = Samples()
    for round_number in range(2):
        made.add("axiom", "round_token_s", 0.1)
        made.add("axiom", "weights_gb_s", 13.0)
        made.add("peer", "round_token_s", 0.2)
        # The neighbours come in the second round, between the two arms.
        for place, value in ((BEFORE_AXIOM, 20.0), (BEFORE_PEER, 20.0), (AFTER, 20.0 - 10 * round_number)):
            made.add("machine", f"read_ahead_{place}_gb_s", *[value] * PROBES)
            made.add("machine", f"read_{place}_gb_s", *[value / 2] * PROBES)
    for arm in ("axiom", "peer"):
        made.add(arm, "token_s", 0.1)
    share = lines(made)["bandwidth_fraction"]
    assert share.axiom == pytest.approx(11 / 20)
    # 5.5 GB/s of 20 in the first round, of the median of 20 and 10 in the second.
    assert share.peer == pytest.approx((5.5 / 20 + 5.5 / 15) / 2)
    assert "asks ahead" in share.note
    facts = medians(made)
    assert facts["read_weights_gb_s"] == 13.0
    assert facts["read_ahead_before_axiom_gb_s"] == 20.0
    assert facts["read_ahead_after_gb_s"] == facts["read_before_peer_gb_s"] + 5 == 15.0


def test_a_context_without_room_for_a_prompt_is_said() -> None:
    made = samples(peer=True)
    made.add("axiom", "prefill_300_s", 0.3)
    made.add("peer", "prefill_300_s", 0.6)
    del made.values["axiom", "prefill_512_s"], made.values["peer", "prefill_512_s"]
    found = lines(made, Work(PROMPTS, 300, token_bytes=1))
    assert found["ttft_128_ms"].note == ""
    assert found["ttft_512_ms"].axiom is None
    assert "300 positions" in found["ttft_512_ms"].note
    assert found["prefill_tok_s"].axiom == pytest.approx(1000.0)
    assert found["prefill_tok_s"].note == "300 tokens: the context has no room for 512"


def test_what_a_peer_cannot_tell_is_excused_and_what_nobody_measured_is_not() -> None:
    made = samples(peer=True)
    del made.values["peer", "token_s"]
    found = lines(made, Work(PROMPTS, 4096, 1, untold="it does not tell", means="means"))
    assert found["jitter_us"].note == "p99 minus p50 of a token; it does not tell"
    assert found["decode_tok_s"].note == "means"
    assert found["ttft_128_ms"].note == ""
    assert found["joules_per_token"].note == "not measurable here"


def test_how_far_axiom_is_from_the_yardstick_is_told_where_there_is_one() -> None:
    def agreement(divergence: float) -> Agreement:
        return Agreement(32, divergence, divergence, divergence, 1.0, 0.0)

    made = Comparison([], Samples(), "hosted", 1, agreement=agreement(3e-3), yardstick=agreement(2e-3))
    assert made.over_yardstick == pytest.approx(1.5)
    assert Comparison([], Samples(), "hosted", 1, agreement=agreement(3e-3)).over_yardstick is None
    made.yardstick = agreement(0.0)
    assert made.over_yardstick is None
