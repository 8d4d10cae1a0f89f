"""A child process is ended with its parent, and its errors are kept."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from axiom.host.errors import MachineError
from axiom.host.machine.process import Process, run_program

PATIENCE = 20.0


def test_the_end_is_noticed_and_errors_are_kept() -> None:
    process = Process(run_program(["/bin/sh", "-c", "echo it broke >&2; exit 7"]), [])
    assert process.wait(PATIENCE) == 7
    assert process.status() == 7
    assert process.errors() == "it broke\n"
    process.close()


def test_only_the_files_that_were_named_are_inherited() -> None:
    read, write = os.pipe()
    process = Process(run_program(["/bin/sh", "-c", f"echo hello > /proc/self/fd/{write}"]), [write])
    os.close(write)
    assert process.wait(PATIENCE) == 0
    assert os.read(read, 100) == b"hello\n"
    os.close(read)
    process.close()


def test_a_process_that_ignores_the_request_to_end_is_killed() -> None:
    process = Process(
        run_program(["/bin/sh", "-c", "trap '' TERM; echo ready >&2; while :; do sleep 0.05; done"]), []
    )
    deadline = time.monotonic() + PATIENCE
    while "ready" not in process.errors() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.wait(0.0) is None
    process.stop(0.1)
    assert process.status() == -signal.SIGKILL
    process.close()


def test_a_missing_program_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"cannot start .*nothing: No such file"):
        run_program([str(tmp_path / "nothing")])


def test_a_function_runs_with_its_own_files_and_signals() -> None:
    read, write = os.pipe()

    def answer() -> NoReturn:
        # The file through which they are listed is closed again, and no longer there.
        named = sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}"))
        os.write(write, f"{named} {signal.getsignal(signal.SIGINT) == signal.SIG_DFL}".encode())
        os._exit(5)

    process = Process(answer, [write])
    assert process.wait(PATIENCE) == 5
    assert os.read(read, 100).decode() == f"{[0, 1, 2, write]} True"
    for file in (read, write):
        os.close(file)
    process.close()


def test_many_threads_may_ask_and_end_it() -> None:
    process = Process(run_program(["/bin/sleep", "1000"]), [])
    asking = [threading.Thread(target=process.stop, args=(PATIENCE,)) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(PATIENCE)
    assert process.status() == -signal.SIGTERM
    process.close()
    process.close()


def test_signals_find_the_handlers_of_before() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    process = Process(run_program(["/bin/true"]), [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert process.wait(PATIENCE) == 0
    process.close()


def test_what_a_function_raises_is_its_error() -> None:
    def fail() -> NoReturn:
        raise MachineError("it cannot be done")

    process = Process(fail, [])
    assert process.wait(PATIENCE) == 1
    assert process.errors() == "it cannot be done\n"
    process.close()


def test_the_child_dies_when_its_parent_is_killed() -> None:
    read, write = os.pipe()
    script = (
        "import sys, time\n"
        "from axiom.host.machine.process import Process, run_program\n"
        f"child = Process(run_program(['/bin/sleep', '1000']), [{write}])\n"
        "print(child.id, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, pass_fds=[write])
    os.close(write)
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) > 0
    parent.kill()
    parent.wait()
    parent.stdout.close()
    # The child holds the last writing end of the pipe: its end is the end of the file.
    ended, _, _ = select.select([read], [], [], PATIENCE)
    assert ended
    assert os.read(read, 1) == b""
    os.close(read)
