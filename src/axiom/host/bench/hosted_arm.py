"""The hosted kernel as an arm of a comparison: in a process of its own, which can be made to stand still.

`python -m axiom.host.bench.hosted_arm` is that process: one JSON object a line to it, one back.
"""

import json
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axiom.host.bench.axiom_arm import AxiomArm, axiom_arm
from axiom.host.bench.worker_process import WorkerProcess
from axiom.host.errors import AxiomError, MachineError
from axiom.host.machine.session import SessionOptions
from axiom.host.model.packed_file import PackedModel, read_packed


class HostedArm:
    """What `AxiomArm` is, at a distance."""

    machine = "hosted"

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker

    @contextmanager
    def awake(self) -> Generator[None]:
        """Let the process run during the block."""
        self._worker.go_on()
        try:
            yield
        finally:
            self._worker.stand_still()

    def prefill_seconds(self, tokens: list[int]) -> float:
        """Return how long a prompt takes until its first token arrives."""
        return self._worker.ask("prefill", tokens=tokens)

    def decode_seconds(self, prompt: list[int], count: int) -> list[float]:
        """Return how long each of `count` tokens takes after a prompt and one token more."""
        return self._worker.ask("decode", tokens=prompt, count=count)

    def weights_gb_s(self) -> float:
        """Return how fast all cores read the weights where they lie, in 10^9 bytes a second."""
        return self._worker.ask("read_weights", tokens=[])

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return the logits of every position of a text, [positions, vocabulary]."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "logits"
            self._worker.ask("logits", tokens=tokens, path=str(path))
            return np.fromfile(path, np.float32).reshape(len(tokens), -1)


@contextmanager
def hosted_arm(model: PackedModel, options: SessionOptions) -> Generator[HostedArm]:
    """Start the process; it stands still when the block is entered."""
    worker = WorkerProcess([sys.executable, "-m", __name__], "the hosted kernel")
    try:
        worker.ask(
            "load",
            model=str(model.path),
            cpus=options.cpus,
            n_context=options.n_context,
            kv_type=options.kv_type,
        )
        arm = HostedArm(worker)
        worker.stand_still()
        yield arm
    finally:
        worker.close()


def answer(arm: AxiomArm, request: dict[str, Any]) -> Any:
    """Do what a request asks for."""
    command, tokens = request["command"], request["tokens"]
    if command == "prefill":
        return arm.prefill_seconds(tokens)
    if command == "decode":
        return arm.decode_seconds(tokens, request["count"])
    if command == "read_weights":
        return arm.weights_gb_s()
    if command == "logits":
        arm.logits(tokens).tofile(request["path"])
        return len(tokens)
    raise MachineError(f"there is no command {command}")


def serve(arm: AxiomArm) -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        try:
            reply = {"result": answer(arm, json.loads(line))}
        except AxiomError as error:
            reply = {"error": error.message}
        print(json.dumps(reply), flush=True)


def main() -> None:
    """Load what the first line names, and serve."""
    request = json.loads(sys.stdin.readline())
    model = read_packed(Path(request["model"]))
    if model is None:
        print(json.dumps({"error": f"{request['model']} is no packed model"}), flush=True)
        return
    wanted = SessionOptions(
        "hosted", request["cpus"], None, request["n_context"], kv_type=request["kv_type"]
    )
    with axiom_arm(model, wanted) as arm:
        print(json.dumps({"result": True}), flush=True)
        serve(arm)


if __name__ == "__main__":
    main()
