"""Tells Keras of our layers as soon as both are imported, in either order.

`keras.models.load_model` finds a class only if the module that registers it was imported. A user
who writes `import steelyard` means that its layers load; but opening them imports Keras, which
`import steelyard` must not do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

ROOMS = tuple(f"{__package__}.{room}" for room in ("layers", "parametrizations", "substitutes"))


def register() -> None:
    """Opens our layers now if Keras is imported already, and else right after it is."""
    if "keras" in sys.modules:
        # Half imported: Keras itself, or a plugin of it, is importing us.
        if getattr(sys.modules["keras"].__spec__, "_initializing", False):
            return
        _open()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _open() -> None:
    if any(map(_is_half_open, sys.modules)):
        # One of our rooms is importing Keras; what needs that room is opened when it is complete.
        _pending.append(True)
        return
    for room in ROOMS:
        import_module(room)


_pending: list[bool] = []


def finish() -> None:
    """Opens our layers if Keras was first imported by a room of ours."""
    if _pending and not any(map(_is_half_open, sys.modules)):
        _pending.clear()
        _open()


def _is_half_open(module: str) -> bool:
    if not module.startswith(f"{__package__}."):
        return False
    return bool(getattr(sys.modules[module].__spec__, "_initializing", False))


class _AfterKeras(MetaPathFinder):
    """Sees the first `import keras`, lets it happen as ever, and is gone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            _then(spec.loader)
        return spec


def _then(loader: Any) -> None:
    """Has a module's loader open our layers when the module is complete."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        _open()

    loader.exec_module = exec_module
