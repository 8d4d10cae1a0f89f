"""A process that does what it is asked: one JSON object a line there, one back. It can be halted."""

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

from axiom.host.errors import MachineError

ANSWER_SECONDS = 600.0


class WorkerProcess:
    """A running worker. Raises MachineError when it fails or does not answer; name: what it is called."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, command: str, **values: Any) -> Any:
        """Return the result of a command."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps({"command": command, **values}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise MachineError(f"{self._name} ended when asked to {command}.") from None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_SECONDS):
                raise MachineError(f"{self._name} did not {command} within {ANSWER_SECONDS:.0f} s.")
        line = stdout.readline()
        if not line:
            status = self._process.wait()
            raise MachineError(f"{self._name} ended with status {status} when asked to {command}.")
        reply = json.loads(line)
        if "error" in reply:
            raise MachineError(f"{self._name} could not {command}: {reply['error']}.")
        return reply["result"]

    def stand_still(self) -> None:
        """Let none of its threads run."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let its threads run again."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
