"""Importing a library without an optional part of it that is of no use here."""

import importlib
import sys
from types import ModuleType


def import_without(name: str, optional: str) -> ModuleType:
    """The module, imported as if `optional` were not installed; whoever imports that later gets it."""
    kept = sys.modules.get(optional)
    sys.modules[optional] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[optional]
        if kept is not None:
            sys.modules[optional] = kept
