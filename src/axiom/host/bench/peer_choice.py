"""Which peer a word of the command line means: none, llama-cpp-python, or a `llama-bench`."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from axiom.host.bench.llama_bench import LlamaBench, repacks_when_told
from axiom.host.bench.peer import peer_interpreter
from axiom.host.errors import UserError

LOOK_SECONDS = 60
ASK_PYTHON = "import llama_cpp; print('llama_cpp', llama_cpp.__version__)"
CHOICES = "give llama.cpp, none, or the path of a llama-bench or of a Python with llama-cpp-python"


@dataclass(frozen=True)
class PeerChoice:
    """An interpreter with llama-cpp-python, or a llama-bench, or neither."""

    interpreter: Path | None = None
    program: Path | None = None
    tells_repack: bool = False

    def bench(self, model: Path) -> LlamaBench | None:
        """Return the llama-bench with a model, where there is one."""
        return None if self.program is None else LlamaBench(self.program, model, self.tells_repack)


def choose_peer(text: str) -> PeerChoice:
    """Return the peer that `--peer` names. Raises UserError when it is none."""
    if text == "none":
        return PeerChoice()
    if text == "llama.cpp":
        return PeerChoice(interpreter=peer_interpreter())
    # Not resolved: the interpreter of an environment is a link, and its own name tells which one it is of.
    path = Path(text).absolute()
    if not path.exists():
        raise UserError(f"there is no peer {text!r}: no such file.", CHOICES)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UserError(f"{text} is no peer: it is not an executable file.", CHOICES)
    if (_output(path, "-c", ASK_PYTHON) or "").startswith("llama_cpp "):
        return PeerChoice(interpreter=path)
    usage = _output(path, "--help") or ""
    if "--n-prompt" in usage and "--n-gen" in usage:
        return PeerChoice(program=path, tells_repack=repacks_when_told(usage))
    raise UserError(f"{text} is neither a llama-bench nor a Python with llama-cpp-python.", CHOICES)


def _output(path: Path, *arguments: str) -> str | None:
    """Return what a program writes; None when it fails or does not end."""
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOOK_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
