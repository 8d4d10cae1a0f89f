"""A module that is imported late is the module, from its first use on."""

import subprocess
import sys

import pytest

from axiom.lang.later import Later

WHEN = """
import sys
from axiom.lang.later import Later
module = Later("colorsys")
before = "colorsys" in sys.modules
value = module.rgb_to_hsv(1, 0, 0)
print(before, "colorsys" in sys.modules, value)
"""


def test_it_is_imported_by_its_first_use() -> None:
    done = subprocess.run([sys.executable, "-c", WHEN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True (0.0, 1.0, 1)"


def test_a_name_that_is_not_there_is_said_so() -> None:
    with pytest.raises(AttributeError, match="module 'colorsys' has no attribute 'nothing'"):
        _ = Later("colorsys").nothing


def test_the_command_starts_without_numpy_and_llvm() -> None:
    program = (
        "import sys, axiom.host.cli.run; print([m for m in ('numpy', 'llvmlite') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
