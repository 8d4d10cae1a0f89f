"""From samples to lines: medians, ratios, shares, and what is said when something was not measured."""

import pytest

from axiom.host.bench.results import Result, Samples, make_results

PROMPTS = (128, 512)


def samples(peer: bool) -> Samples:
    made = Samples()
    made.add("machine", "read_gb_s", 10.0, 12.0, 11.0)
    made.add("machine", "read_ahead_gb_s", 22.0)
    arms = [("axiom", 1.0), ("peer", 2.0)] if peer else [("axiom", 1.0)]
    for arm, slower in arms:
        made.add(arm, "round_token_s", 0.1 * slower, 0.2 * slower, 0.3 * slower)
        made.add(arm, "token_s", *(0.1 * slower + i * 1e-6 * slower for i in range(101)))
        for n in PROMPTS:
            made.add(arm, f"prefill_{n}_s", n / 1000 * slower)
        made.add(arm, "start_to_first_token_ms", 50.0 * slower)
        made.add(arm, "extra_memory_bytes", 1000 * slower)
    return made


def lines(made: Samples) -> dict[str, Result]:
    return {one.metric: one for one in make_results(made, PROMPTS, token_bytes=1_100_000_000)}


def test_rates_are_medians_and_ratios_are_axiom_over_peer() -> None:
    found = lines(samples(peer=True))
    decode = found["decode_tok_s"]
    assert (decode.axiom, decode.peer, decode.ratio) == pytest.approx((5.0, 2.5, 2.0))
    assert found["prefill_tok_s"].axiom == pytest.approx(1000.0)
    assert found["ttft_128_ms"].axiom == pytest.approx(128.0)
    assert found["ttft_512_ms"].ratio == pytest.approx(0.5)
    assert found["start_to_first_token_ms"].peer == 100.0
    assert found["extra_memory_bytes"].ratio == 0.5
    # 1.1 GB in 0.2 s are 5.5 GB/s, of 11 GB/s.
    assert found["bandwidth_fraction"].axiom == pytest.approx(0.5)
    assert "0.50" in found["bandwidth_fraction"].note
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
