"""Processors of a machine are pinned one to one, and left alone when there are fewer or more of them."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from axiom.host.machine.pinning import pin_processors

ALLOWED = sorted(os.sched_getaffinity(0))


@contextmanager
def named_threads(names: list[str]) -> Generator[dict[str, int]]:
    """Run threads that Linux knows by these names; yields their numbers."""
    end = threading.Event()
    ready = threading.Barrier(len(names) + 1)
    numbers: dict[str, int] = {}

    def live(name: str) -> None:
        Path("/proc/thread-self/comm").write_text(name)
        numbers[name] = threading.get_native_id()
        ready.wait()
        end.wait()

    threads = [threading.Thread(target=live, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        yield numbers
    finally:
        end.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(len(ALLOWED) < 2, reason="there is one processor only")
def test_each_processor_gets_one_of_its_own() -> None:
    names = [f"CPU {number}/KVM" for number in range(len(ALLOWED))]
    with named_threads([*names, "worker"]) as numbers:
        pin_processors(os.getpid(), len(ALLOWED))
        for name, cpu in zip(names, ALLOWED, strict=True):
            assert os.sched_getaffinity(numbers[name]) == {cpu}
        assert os.sched_getaffinity(numbers["worker"]) == set(ALLOWED)


@pytest.mark.parametrize("count", [1, len(ALLOWED) + 1])
def test_another_number_of_processors_is_left_alone(count: int) -> None:
    with named_threads(["CPU 0/KVM", "CPU 1/KVM"]) as numbers:
        pin_processors(os.getpid(), count)
        assert all(os.sched_getaffinity(number) == set(ALLOWED) for number in numbers.values())
