"""llama.cpp in a process of its own: reads one JSON object a line, answers with one.

Run by the interpreter that has `llama-cpp-python`, so this file imports nothing of Axiom. Only its
low-level functions are used: what is timed is `llama_decode`, not sampling or text.
"""

import ctypes
import importlib
import json
import sys
import time
from typing import Any

llama: Any = importlib.import_module("llama_cpp")


class Worker:
    """One model and one context."""

    def __init__(self, request: dict[str, Any]) -> None:
        start = time.monotonic()
        llama.llama_log_set(QUIET, ctypes.c_void_p(0))
        llama.llama_backend_init()
        options = llama.llama_model_default_params()
        options.use_extra_bufts = request["repack"]
        self.model = llama.llama_model_load_from_file(request["model"].encode(), options)
        if not self.model:
            raise RuntimeError("llama.cpp does not load the model")
        wanted = llama.llama_context_default_params()
        wanted.n_ctx = request["n_context"]
        wanted.n_batch = wanted.n_ubatch = request["n_batch"]
        wanted.n_threads = wanted.n_threads_batch = request["threads"]
        wanted.flash_attn_type = 1 if request["flash_attention"] else 0
        self.context = llama.llama_init_from_model(self.model, wanted)
        self.n_batch = request["n_batch"]
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.load_seconds = time.monotonic() - start

    def _decode(self, tokens: list[int]) -> None:
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        status = llama.llama_decode(self.context, llama.llama_batch_get_one(array, len(tokens)))
        if status:
            raise RuntimeError(f"llama_decode returned {status}")

    def prefill(self, tokens: list[int]) -> float:
        """Return the seconds that a prompt takes in an empty context, its last logits included."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        start = time.perf_counter()
        for first in range(0, len(tokens), self.n_batch):
            self._decode(tokens[first : first + self.n_batch])
        _ = llama.llama_get_logits_ith(self.context, -1)[0]
        return time.perf_counter() - start

    def decode(self, tokens: list[int]) -> list[float]:
        """Return the seconds of each token, one after another, after what is in the context."""
        times: list[float] = []
        for token in tokens:
            start = time.perf_counter()
            self._decode([token])
            _ = llama.llama_get_logits_ith(self.context, -1)[0]
            times.append(time.perf_counter() - start)
        return times

    def logits(self, tokens: list[int], path: str) -> int:
        """Write the logits of every position as f32 and return how many positions there are."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        with open(path, "wb") as file:
            for token in tokens:
                self._decode([token])
                pointer = llama.llama_get_logits_ith(self.context, -1)
                file.write(ctypes.string_at(pointer, 4 * self.n_vocab))
        return len(tokens)


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def QUIET(level: int, text: bytes, data: int) -> None:
    """Say nothing."""


def resident_bytes() -> int:
    """Return this process's resident memory, what it maps of files included."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def answer(worker: Worker | None, request: dict[str, Any]) -> tuple[Worker | None, Any]:
    """Do what a request asks for."""
    command = request["command"]
    if command == "load":
        made = Worker(request)
        system = llama.llama_print_system_info().decode()
        return made, {"load_seconds": made.load_seconds, "n_vocab": made.n_vocab, "system": system}
    if worker is None:
        raise RuntimeError("no model is loaded")
    if command == "prefill":
        return worker, worker.prefill(request["tokens"])
    if command == "decode":
        return worker, worker.decode(request["tokens"])
    if command == "logits":
        return worker, worker.logits(request["tokens"], request["path"])
    if command == "memory":
        return worker, resident_bytes()
    raise RuntimeError(f"there is no command {command}")


def main() -> None:
    """Answer until the input ends."""
    worker: Worker | None = None
    for line in sys.stdin:
        try:
            worker, result = answer(worker, json.loads(line))
            reply = {"result": result}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
