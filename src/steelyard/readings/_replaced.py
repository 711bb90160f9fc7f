"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replaced(path: Path, data: bytes) -> None:
    """Puts a new file in the place of one that may be there, in one step."""
    new = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
