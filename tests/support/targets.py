"""Run a function of the language on each of its targets.

`run(target, f, ...)` takes NumPy arrays for slices and Python numbers for scalars. On `python` the
function runs under CPython; on `hosted-*` it is compiled for that processor and called in-process; on the
targets of `aarch64` it is compiled for that processor, which is emulated.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from axiom.compiler.frontend.calls import parameter_patterns
from axiom.compiler.frontend.context import function_scope
from axiom.compiler.hosted import Hosted, load_hosted
from axiom.compiler.types import ScalarType, SliceType
from axiom.host.machine.tile_permission import ask_for_tiles
from axiom.lang import X86_64_V3, X86_64_V4_AMX, X86_64_V4_VNNI, Target, slice_over
from tests.support.aarch64 import EMULATED, Emulated

HOSTED_TARGETS: dict[str, Target] = {"hosted-v3": X86_64_V3, "hosted-v4": X86_64_V4_VNNI}
# With the one that differs from the one before only in `gemm`.
GEMM_TARGETS = {**HOSTED_TARGETS, "hosted-tiles": X86_64_V4_AMX}
TARGETS = ("python", *HOSTED_TARGETS)
_loaded: dict[tuple[int, str], tuple[Any, Hosted]] = {}
_emulated: dict[tuple[int, str], tuple[Any, Emulated]] = {}


def processor_flags() -> set[str]:
    """Return the feature names that Linux gives for this processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def require_target(target: str) -> None:
    """Skip the test when this processor cannot run `target`."""
    wide = {"avx512f", "avx512vl", "avx512_vnni"}
    needed = {
        "hosted-v3": {"avx2", "fma", "f16c"},
        "hosted-v4": wide,
        "hosted-tiles": wide | {"amx_tile", "amx_int8"},
    }
    missing = needed.get(target, set()) - processor_flags()
    if missing:
        pytest.skip(f"this processor lacks {', '.join(sorted(missing))}")
    if target == "hosted-tiles" and not ask_for_tiles():
        pytest.skip("Linux does not give matrix tiles to processes here")


def run(target: str, function: Any, *arguments: Any) -> Any:
    """Call `function` on `target`; arrays are read and written in place."""
    if target == "python":
        return _run_python(function, arguments)
    key = (id(function), target)
    if target in EMULATED:
        if key not in _emulated:
            _emulated[key] = (function, Emulated([function], EMULATED[target]))
        return _emulated[key][1].call(function, *arguments)
    require_target(target)
    if key not in _loaded:
        _loaded[key] = (function, load_hosted([function], GEMM_TARGETS[target]))
    return _loaded[key][1](function, *arguments)


def _run_python(function: Any, arguments: tuple[Any, ...]) -> Any:
    patterns = parameter_patterns(function, function_scope(function))
    values: list[Any] = []
    for (_, pattern), argument in zip(patterns, arguments, strict=True):
        if isinstance(pattern, SliceType) and isinstance(argument, np.ndarray):
            array = cast("np.ndarray[Any, np.dtype[Any]]", argument)
            values.append(slice_over(pattern.element, array.data.cast("B")))
        elif isinstance(pattern, ScalarType):
            values.append(pattern.scalar(argument))
        else:
            values.append(argument)
    return function(*values)
