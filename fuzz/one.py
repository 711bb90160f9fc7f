"""Fuzzes one target until it is ended; `fuzz/run.py` starts it.

python fuzz/one.py TARGET [options of libFuzzer] FOLDER…
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import atheris

with atheris.instrument_imports(include=["steelyard.checkpoints", "pickletools", "zipfile"]):
    from fuzz.targets import TARGETS, guarded


def main() -> None:
    """Hands the rest to libFuzzer."""
    name, *rest = sys.argv[1:]
    atheris.Setup([sys.argv[0], *rest], guarded(TARGETS[name].one))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
