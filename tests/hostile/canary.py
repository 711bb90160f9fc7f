"""A module that a config names; that it was imported can be seen."""

from pathlib import Path

from tests.hostile.case import CANARY

Path(CANARY).write_text("imported")
