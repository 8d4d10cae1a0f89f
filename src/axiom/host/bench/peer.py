"""The peer: llama.cpp through `llama-cpp-python`, in a process of its own."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from axiom.host.bench.worker_process import WorkerProcess
from axiom.host.errors import UserError

WORKER = Path(__file__).with_name("peer_worker.py")
PEER_HINT = "make it with: make .venv-peer"


@dataclass(frozen=True)
class PeerSetting:
    """How llama.cpp is driven. repack: its own interleaved layouts (and AMX where it was built with it)."""

    threads: int
    flash_attention: bool = False
    repack: bool = True
    n_batch: int = 512

    def __str__(self) -> str:
        """Return a short description."""
        flash = "on" if self.flash_attention else "off"
        repack = "on" if self.repack else "off"
        return (
            f"{self.threads} threads, flash attention {flash}, repack {repack}, batches of {self.n_batch}"
        )


def peer_interpreter() -> Path:
    """Return the interpreter that has llama-cpp-python. Raises UserError when there is none.

    AXIOM_PEER_PYTHON names it, else it is .venv-peer in the current directory or beside this interpreter's
    environment.
    """
    if named := os.environ.get("AXIOM_PEER_PYTHON"):
        if Path(named).is_file():
            return Path(named)
        raise UserError(f"there is no interpreter {named}, which AXIOM_PEER_PYTHON names.", PEER_HINT)
    for place in (Path(".venv-peer/bin/python"), Path(sys.prefix).parent / ".venv-peer/bin/python"):
        if place.is_file():
            return place
    raise UserError("there is no llama.cpp to compare with.", PEER_HINT)


class Peer:
    """A model loaded by llama.cpp. Raises MachineError when the process fails or does not answer."""

    def __init__(self, interpreter: Path, model: Path, setting: PeerSetting, n_context: int) -> None:
        self.setting = setting
        self._worker = WorkerProcess([str(interpreter), str(WORKER)], "llama.cpp")
        try:
            loaded = self._worker.ask(
                "load",
                model=str(model),
                threads=setting.threads,
                flash_attention=setting.flash_attention,
                repack=setting.repack,
                n_batch=setting.n_batch,
                n_context=n_context,
            )
        except BaseException:
            self.close()
            raise
        self.load_seconds: float = loaded["load_seconds"]
        self.n_vocab: int = loaded["n_vocab"]
        self.system: str = loaded["system"].strip(" |")

    def prefill_seconds(self, tokens: list[int]) -> float:
        """Return how long a prompt takes until its last logits."""
        return self._worker.ask("prefill", tokens=tokens)

    def decode_seconds(self, tokens: list[int]) -> list[float]:
        """Return how long each of these tokens takes after what is in the context."""
        return self._worker.ask("decode", tokens=tokens)

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return the logits of every position of a text, [positions, vocabulary]."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "logits"
            self._worker.ask("logits", tokens=tokens, path=str(path))
            return np.fromfile(path, np.float32).reshape(len(tokens), -1)

    def resident_bytes(self) -> int:
        """Return the process's resident memory, the mapped model included."""
        return self._worker.ask("memory")

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
