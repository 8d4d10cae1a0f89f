"""Which of the peer's settings is its best: to decode and read prompts with, and to start with."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.errors import MachineError

START_TRIES = 3


def settings_to_try(cpus: int) -> list[PeerSetting]:
    """Return threads, flash attention, repacking and batch size in every combination that makes sense."""
    threads = sorted({cpus, max(1, cpus // 2)}, reverse=True)
    base = [
        PeerSetting(cpus, flash, repack, batch)
        for repack in (True, False)
        for flash in (False, True)
        for batch in (512, 128)
    ]
    return base + [PeerSetting(n) for n in threads[1:]]


def best_setting(
    interpreter: Path, model: Path, cpus: int, n_context: int, tokens: list[int], say: Callable[[str], None]
) -> PeerSetting:
    """Return the setting that is fastest for a prompt of `tokens` and twice 16 tokens more.

    Settings that fail are passed over. Raises MachineError when all do.
    """
    tried: list[tuple[float, PeerSetting]] = []
    for setting in settings_to_try(cpus):
        try:
            with Peer(interpreter, model, setting, n_context) as peer:
                taken = peer.prefill_seconds(tokens) + 2 * sum(peer.decode_seconds(tokens[:16]))
        except MachineError as error:
            say(f"peer: {setting}: {error.message}")
            continue
        say(f"peer: {setting}: {taken:.2f} s for {len(tokens)} tokens of prompt and twice 16 tokens")
        tried.append((taken, setting))
    if not tried:
        raise MachineError("llama.cpp runs in none of its settings here.")
    return min(tried, key=lambda pair: pair[0])[1]


def fastest_start(best: PeerSetting, start: Callable[[PeerSetting], float]) -> PeerSetting:
    """Return what starts faster, with repacking or without; start: milliseconds to a first token."""
    ways = [replace(best, repack=repack) for repack in (True, False)]
    return min(ways, key=lambda way: median(start(way) for _ in range(START_TRIES)))


@contextmanager
def running(
    interpreter: Path | None, model: Path, setting: PeerSetting | None, n_context: int
) -> Generator[Peer | None]:
    """Open the peer, if there is one."""
    if interpreter is None or setting is None:
        yield None
        return
    with Peer(interpreter, model, setting, n_context) as peer:
        yield peer
