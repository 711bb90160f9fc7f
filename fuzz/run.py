"""Fuzzes the readers of all formats, guided by coverage; says what was run and what was found.

    python fuzz/run.py --seconds 60             a minute in all, shared by the targets
    python fuzz/run.py --seconds 3600 --jobs 2  an hour for each of two processes
    python fuzz/run.py --only npz --only json   these only
    python fuzz/run.py --replay FILE --only npz one input, with the error in full

What was learned stays in `.build/fuzz`, and the next run goes on from there. An input that breaks a
reader is kept there under `found`: mend the reader, and add the input to `tests/hostile`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".build" / "fuzz"
_LARGEST_SEED = 1 << 16
# Of these a run would see little else.
_SLOW = ("tuples-that-double", "list-in-itself", "many-instructions", "lists-in-lists")
_SLOW += ("as-many-as-allowed", "too-many-values", "100-megabytes", "300000-names", "20000-members")
_MEMORY = Path("/dev/shm")
_QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass
class Outcome:
    """What came of fuzzing a target."""

    name: str
    runs: int
    coverage: int
    corpus: int
    found: list[Path]
    said: str


def why_not() -> str:
    """Why there can be no fuzzing here; empty if it can."""
    if find_spec("atheris") is None:
        return "atheris is not installed: pip install atheris (it has wheels for Linux)"
    return ""


def fuzz(name: str, seconds: float) -> Outcome:
    """Fuzzes one target for a while."""
    corpus, found = KEPT / name, KEPT / "found" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    command = [sys.executable, str(ROOT / "fuzz" / "one.py"), name]
    command += [f"-max_total_time={max(1, round(seconds))}", f"-artifact_prefix={found}{os.sep}"]
    command += [
        "-timeout=30",
        "-rss_limit_mb=1000",
        "-max_len=65536",
    ]
    command += [str(corpus), str(KEPT / "seeds" / name)]
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        done = subprocess.run(
            command,
            env=_environment() | {"TMPDIR": folder},
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
    said = done.stdout + done.stderr
    new = sorted(set(found.iterdir()) - before)
    if done.returncode and not new:
        new = [found / "(no input was kept)"]
    held = len(list(corpus.iterdir()))
    return Outcome(name, _last(r"^#(\d+)\s", said), _last(r"cov: (\d+)", said), held, new, said)


def _last(pattern: str, said: str) -> int:
    return int([0, *re.findall(pattern, said, re.MULTILINE)][-1])


def replay(name: str, path: Path) -> int:
    """Runs a target on one input."""
    command = [sys.executable, str(ROOT / "fuzz" / "one.py"), name, str(path)]
    return subprocess.run(command, env=_environment(), check=False).returncode


def _environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, **_QUIET, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def make_seeds(names: list[str]) -> None:
    """The hostile files as seeds, made anew."""
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    from tests.hostile import all_cases, make
    from tests.hostile.good import main_file

    from fuzz.targets import TARGETS

    for name in names:
        shutil.rmtree(KEPT / "seeds" / name, ignore_errors=True)
        (KEPT / "seeds" / name).mkdir(parents=True)
        for number, data in enumerate(TARGETS[name].more()):
            (KEPT / "seeds" / name / f"seed-{number}").write_bytes(data)
    wanted = {kind for name in names for kind in TARGETS[name].seeds}
    with tempfile.TemporaryDirectory() as folder:
        for case in all_cases():
            if case.format not in wanted or case.name in _SLOW:
                continue
            path = main_file(make(case, Path(folder)))
            path = path.with_name("config.json") if case.format == "keras-folder" else path
            if not path.is_file() or path.stat().st_size > _LARGEST_SEED:
                continue
            if case.format == "weights.h5" and case.row in ("bombs", "damage"):
                continue  # a process for each
            for name in names:
                if case.format in TARGETS[name].seeds:
                    shutil.copyfile(path, KEPT / "seeds" / name / case.id)


def main(arguments: list[str]) -> int:
    """Fuzzes, prints a row for each target; 1 if anything was found."""
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="in all, shared by the targets")
    parser.add_argument("--only", action="append", choices=[*TARGETS], help="may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="at the same time (default 1)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the target on one input")
    options = parser.parse_args(arguments)
    if why_not():
        parser.error(why_not())
    names = options.only or [*TARGETS]
    if options.replay:
        return max(replay(name, options.replay) for name in names)
    make_seeds(names)
    each = options.seconds * options.jobs / len(names)
    print(f"{'target':<20}{'runs':>12}{'coverage':>10}{'corpus':>8}  found", flush=True)
    bad = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for one in pool.map(lambda name: fuzz(name, each), names):
            found = ", ".join(str(path.relative_to(ROOT)) for path in one.found) or "nothing"
            row = f"{one.name:<20}{one.runs:>12,}{one.coverage:>10,}{one.corpus:>8,}  {found}"
            print(row, flush=True)
            if one.found:
                bad += 1
                print(one.said[-4000:], flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
