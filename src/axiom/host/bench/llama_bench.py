"""The peer as a `llama-bench` executable, which measures itself: one run a round.

It tells the times of prompts and of tokens, and nothing else: no logits to compare, no single latencies.
What it is asked and what it answers: tools/llama-bench/README.md of llama.cpp.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axiom.host.bench.peer_settings import PeerSetting
from axiom.host.errors import MachineError

RUN_SECONDS = 600.0
TRY_PROMPT = 64
TRY_TOKENS = 16
REPACK = "--repack"


@dataclass(frozen=True)
class BenchTimes:
    """Seconds of a prompt by its length, and of a token: the mean of all. build: the commit, if it says."""

    prefill_s: dict[int, float]
    token_s: float
    build: str


def repacks_when_told(usage: str) -> bool:
    """Tell from its help whether a llama-bench can be asked to repack or not; older ones always do."""
    return REPACK in usage


class LlamaBench:
    """A llama-bench and a model. Raises MachineError when it fails, or tells something else.

    tells_repack: whether it has the option for it.
    """

    def __init__(self, program: Path, model: Path, tells_repack: bool) -> None:
        self._program, self._model, self.tells_repack = program, model, tells_repack

    def times(self, setting: PeerSetting, prompts: Sequence[int], n_tokens: int) -> BenchTimes:
        """Measure prompts of these lengths, and n_tokens tokens after an empty context."""
        values = {
            "-m": self._model,
            "-p": ",".join(map(str, prompts)),
            "-n": n_tokens,
            "-t": setting.threads,
            "-fa": int(setting.flash_attention),
            "-b": setting.n_batch,
            "-ub": setting.n_batch,
            "-ngl": 0,  # what is compared is this processor, also where there is a graphics card
            "-r": 1,
            "-o": "json",
        }
        if self.tells_repack:
            values[REPACK] = int(setting.repack)
        command = [str(self._program), *(str(part) for pair in values.items() for part in pair)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=RUN_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MachineError(f"{self._program} did not run: {error}.") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise MachineError(f"{self._program} ended with status {done.returncode}: {last}")
        return _parse(done.stdout, prompts, n_tokens, self._program)

    def best_setting(self, settings: Sequence[PeerSetting], say: Callable[[str], None]) -> PeerSetting:
        """Return the setting that is fastest for prompt and tokens. Those that fail are passed over.

        Where repacking cannot be chosen, the settings that ask for none are left out.
        """
        tried: list[tuple[float, PeerSetting]] = []
        for setting in settings:
            if not setting.repack and not self.tells_repack:
                continue
            try:
                found = self.times(setting, (TRY_PROMPT,), TRY_TOKENS)
            except MachineError as error:
                say(f"peer: {setting}: {error.message}")
                continue
            taken = found.prefill_s[TRY_PROMPT] + 2 * TRY_TOKENS * found.token_s
            say(f"peer: {setting}: {taken:.2f} s for {TRY_PROMPT} tokens of prompt and twice {TRY_TOKENS}")
            tried.append((taken, setting))
        if not tried:
            raise MachineError(f"{self._program} runs in none of its settings here.")
        return min(tried, key=lambda pair: pair[0])[1]


def _parse(text: str, prompts: Sequence[int], n_tokens: int, program: Path) -> BenchTimes:
    """Read its JSON: a list of tests, each with what it did (n_prompt, n_gen) and how long (avg_ns)."""
    try:
        rows: list[dict[str, Any]] = json.loads(text)
        taken = {(int(row["n_prompt"]), int(row["n_gen"])): float(row["avg_ns"]) / 1e9 for row in rows}
        return BenchTimes(
            {count: taken[count, 0] for count in prompts},
            taken[0, n_tokens] / n_tokens,
            str(rows[0].get("build_commit", "")),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise MachineError(f"{program} told something else than times: {error!r}.") from None
