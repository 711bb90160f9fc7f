"""Opens files in a process of its own, under watch, and tells of each what came of it.

Reads a path a line, and answers a line of JSON: what was listed or refused, in which words, how
much of the processor's time and of memory it took, and what else it did: files opened elsewhere,
anything written, imported, run or connected to.
"""

import contextlib
import io
import json
import os
import resource
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tests.hostile.bait import Watch
from tests.hostile.good import FORMATS, good

import steelyard as sy
from steelyard.cli import _in_words
from steelyard.cli.list import _show

_FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.putenv"),
    *("os.mkdir", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("socket.", "pickle.", "marshal.", "compile", "exec", "import", "ctypes.", "shutil."),
    *("urllib.", "ftplib.", "http.", "glob.", "webbrowser.", "sqlite3.", "code.__new__"),
)
_MOST_READ = 12


class Hook:
    """What the interpreter says that it does."""

    def __init__(self) -> None:
        self.folder = ""
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.folder:
            return
        if event.startswith(_FORBIDDEN):
            self.seen.append(f"{event} {args!r:.200}")
        elif event == "open" and isinstance(args[0], str | bytes):
            self._opened(os.fsdecode(args[0]), args[2])
        elif event == "os.remove" and not _is_temporary(os.fsdecode(args[0])):
            self.seen.append(f"removes {args[0]!r}")
        elif event == "subprocess.Popen" and (
            args[0] != sys.executable or "_hdf5_child" not in args[1][4]
        ):
            self.seen.append(f"starts {args[1]!r:.200}")

    def _opened(self, path: str, flags: int) -> None:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = os.path.realpath(path).startswith(self.folder)
        if _is_temporary(path) or (path == os.devnull) or (inside and not writes):
            return
        # A link that stands in the folder and leads out is the path that was asked for.
        if not writes and os.path.abspath(path).startswith(self.folder):
            return
        self.seen.append(f"{'writes' if writes else 'opens'} {path!r}")


def _is_temporary(path: str) -> bool:
    folder, name = os.path.split(path)
    return folder == tempfile.gettempdir() and name.startswith("steelyard-")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:  # what is imported late is imported now
            place = Path(folder) / name
            place.mkdir()
            _opened(good(name, place))
            _opened(place / "missing")
    "\x1b".encode("unicode_escape")
    hook, watch = Hook(), Watch()
    base = _resident()
    print(json.dumps({"base": base}), flush=True)
    for line in sys.stdin:
        path, folder = json.loads(line)
        watch.add(Path(folder).parent / "outside" / "secret")
        _forget_peak()
        began = _worked()
        hook.folder, hook.seen = folder + os.sep, []
        try:
            found = _opened(Path(path))
        except BaseException as error:
            found = {"end": "crashed", "says": f"{type(error).__name__}: {error}"}
        hook.folder = ""
        found |= {"seconds": _worked() - began, "memory": _peak() - base}
        found |= {"children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10}
        found |= {"did": hook.seen + watch.seen()}
        print(json.dumps(found), flush=True)


def _opened(path: Path) -> dict[str, Any]:
    out = io.StringIO()
    try:
        weights = sy.weights(path)
    except sy.SteelyardError as error:
        kind = type(error).__name__
        return {"end": "refused", "kind": kind, "says": str(error), "ink": _in_words(error)}
    with contextlib.redirect_stdout(out):
        _show(weights)
    unread, values = [], {}
    for weight in islice(weights, _MOST_READ):
        try:
            value = weight.numpy()
            values[weight.address] = str(np.asarray(value).tolist()) if value.size < 20 else "…"
        except sy.SteelyardError as error:
            unread.append(str(error))
    codes = sorted({odd.code for odd in getattr(weights.source, "findings", ())})
    weights.source.close()
    told = {"end": "listed", "count": len(weights), "codes": codes, "values": values}
    told |= {"note": weights.source.note, "unread": unread, "html": weights._repr_html_()}
    return told | {"ink": f"{out.getvalue()}\n{weights!r}", "says": " ".join(unread)}


def _worked() -> float:
    """Seconds of the processor, of this process and those that it started."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _resident() -> int:
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    """In bytes; where there is no /proc, the peak since the start, which is no less."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return int(text.split(f"{key}:")[1].split()[0]) << 10


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
