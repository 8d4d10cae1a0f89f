"""A module that is imported when it is first used.

NumPy takes longer to import than a small kernel takes to boot, and only the oracle of vectors needs it.
"""

import importlib
from types import ModuleType
from typing import Any


class Later(ModuleType):
    """Stands for a module until somebody asks it for something."""

    def __getattr__(self, name: str) -> Any:
        self.__dict__.update(importlib.import_module(self.__name__).__dict__)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
