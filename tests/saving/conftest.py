"""Modules that are imported by name, and a process that loads what was saved."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.saving.process import loaded_elsewhere  # noqa: E402

__all__ = ["loaded_elsewhere"]
