"""The whole suite: what needs no Keras once, the rest per backend and on the oldest Keras; a minute
of fuzzing.

A Keras backend is chosen for a whole process, so each is a pytest process of its own. The failures
of each are printed in full, then a table, and as the last line pytest's summary over all of them.

    python tests/run.py                          everything
    python tests/run.py --backends jax           one backend (and what needs none)
    python tests/run.py --only jax -- -k tied    one job; what follows -- goes to pytest
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).parent.parent
# The slowest first, so that the two cores finish together: TensorFlow traces each model in Python,
# and JAX compiles each operation for each shape.
BACKENDS = ("tensorflow", "jax", "torch")
OLDEST = Path(sys.prefix) / "oldest-keras"
LAWS = ("tests/laws",)
REACH = ("tests/refs", "tests/layers", "tests/substitutes", "tests/checkpoints")
OUTCOMES = ("failed", "passed", "skipped", "error")
PRINTING = Lock()
RUNNING: set[int] = set()

# Two processes on two cores: more threads would only get in each other's way.
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}
# Thousands of small programs are compiled here, and most of them run once: what XLA does to make
# them fast takes longer than they do, and the same ones come again from test to test.
QUICKLY_COMPILED = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".build" / "jax-programs"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@dataclass(frozen=True)
class Job:
    """One pytest process."""

    name: str
    marker: str
    backend: str | None = None
    paths: tuple[str, ...] = ("tests",)
    first_on_path: Path | None = None


@dataclass
class Outcome:
    """What came of a job."""

    job: Job
    status: int
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, str]] = field(default_factory=list)

    @property
    def trouble(self) -> str:
        """Why the job does not count as passed; empty if it does."""
        if self.status == 5:
            return "collected no tests"
        if self.status == 1:
            return "failed"
        if self.status != 0:
            return f"crashed (exit status {self.status})"
        return "" if sum(self.counts.values()) else "ran no tests"


def jobs_for(backends: list[str]) -> list[Job]:
    """The jobs of a full run."""
    jobs = [Job(name, "not no_keras", name) for name in sorted(backends, key=BACKENDS.index)]
    # What is asked of the oldest Keras is about Keras, not about the backend: the laws, which take
    # longest, are held on the quickest backend.
    for what, paths, first in (("", REACH, "tensorflow"), (" laws", LAWS, "torch")):
        there = tuple(path for path in paths if (ROOT / path).is_dir()) or paths
        backend = first if first in backends else backends[0]
        oldest = Job(f"oldest Keras{what}, {backend}", "not no_keras", backend, there, OLDEST)
        jobs.insert(sum(job.backend != "torch" or bool(job.first_on_path) for job in jobs), oldest)
    return [*jobs, Job("no Keras", "no_keras"), Job("fuzzing", "fuzz", paths=("fuzz",))]


def environment(job: Job, in_turn: bool = False) -> dict[str, str]:
    """The environment of a job: its backend, its Keras, and quiet."""
    env = {**os.environ, **QUIET}
    env.pop("KERAS_BACKEND", None)
    if job.backend == "jax":
        env |= QUICKLY_COMPILED
    if in_turn:
        env["ROWS_IN_TURN"] = "1"
    if job.backend:
        env["KERAS_BACKEND"] = job.backend
    if job.first_on_path:
        env["LAWS_IN_PLACES"] = "after siblings subclassed"
        rest = env.get("PYTHONPATH")
        env["PYTHONPATH"] = os.pathsep.join([str(job.first_on_path), *([rest] if rest else [])])
    return env


def slowest_in(report: Path, most: int = 8) -> list[tuple[float, str]]:
    """The test functions that took longest, over all their rows: what to look at first."""
    if not report.exists():
        return []
    times: Counter[str] = Counter()
    with suppress(ET.ParseError):
        for case in ET.parse(report).getroot().iter("testcase"):
            place = f"{case.get('classname', '')}::{case.get('name', '').split('[')[0]}"
            times[place] += float(case.get("time", 0))
    return [(seconds, name) for name, seconds in times.most_common(most)]


def counts_in(report: Path) -> Counter[str]:
    """Tests by outcome, from the XML that pytest wrote; nothing if it wrote none."""
    if not report.exists():
        return Counter()
    try:
        suites = ET.parse(report).getroot().iter("testsuite")
    except ET.ParseError:
        return Counter()
    counts: Counter[str] = Counter()
    for suite in suites:
        failed, error, skipped = (
            int(suite.get(key, 0)) for key in ("failures", "errors", "skipped")
        )
        counts += Counter(failed=failed, error=error, skipped=skipped)
        counts["passed"] += int(suite.get("tests", 0)) - failed - error - skipped
    return counts


def run(job: Job, options: argparse.Namespace) -> Outcome:
    """Run one job, and when it is done say how it went; its failures only if it has any."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *job.paths, "-v", "-m", job.marker]
        # A test that hangs says where, well before the job's own limit.
        command += ["-o", f"faulthandler_timeout={options.limit / 2}"]
        command += [f"--junitxml={report}", "-o", f"cache_dir=.pytest_cache/{job.backend}"]
        command += ["-n", str(options.workers)] if options.workers and job.backend else []
        process = subprocess.Popen(
            [*command, *options.pytest],
            cwd=ROOT,
            env=environment(job, in_turn=set(options.backends) == set(BACKENDS)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        RUNNING.add(process.pid)
        try:
            output, _ = process.communicate(timeout=options.limit)
        except subprocess.TimeoutExpired:
            # The whole group: a test's own processes would keep the pipe open.
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\nStopped after {options.limit} s (--limit).\n"
        finally:
            RUNNING.discard(process.pid)
        took = time.monotonic() - started
        outcome = Outcome(job, process.returncode, took, counts_in(report), slowest_in(report))
    with PRINTING:
        print(f"\n----- {job.name}: {outcome.trouble or 'passed'} in {outcome.seconds:.0f} s")
        for seconds, name in outcome.slowest:
            print(f"  {seconds:6.0f} s  {name}")
        if outcome.trouble:
            print(what_matters(output, outcome.status), flush=True)
    return outcome


def stop(number: int, _frame: object) -> None:
    """On Ctrl-C and the like, leave no process behind."""
    for group in tuple(RUNNING):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    os._exit(128 + number)


def what_matters(output: str, status: int) -> str:
    """All failures in full; of a process that crashed or hung, what it said last."""
    lines = output.rstrip().splitlines()
    if status != 1:
        return "\n".join(lines[-100:])
    heads = (" FAILURES ", " ERRORS ")
    first = next((i for i, line in enumerate(lines) if line.strip("=") in heads), 0)
    return "\n".join(lines[first:])


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """Pytest's last line, over all jobs. A job that did not get to its tests counts as an error."""
    total = sum((outcome.counts for outcome in outcomes), Counter())
    total["error"] += sum(
        1 for o in outcomes if o.trouble and not o.counts["failed"] + o.counts["error"]
    )
    words = [f"{total[key]} {key}" for key in OUTCOMES if total[key]] or ["no tests ran"]
    if total["error"] > 1:
        words[-1] += "s"
    return f" {', '.join(words)} in {seconds:.2f}s ".center(80, "=")


def table(outcomes: list[Outcome]) -> str:
    """One row per job."""
    rows = [f"{'job':<26}{'passed':>8}{'failed':>8}{'skipped':>9}{'errors':>8}{'seconds':>9}"]
    for o in outcomes:
        c = o.counts
        rows.append(
            f"{o.job.name:<26}{c['passed']:>8}{c['failed']:>8}{c['skipped']:>9}{c['error']:>8}"
            f"{o.seconds:>9.0f}   {o.trouble}".rstrip()
        )
    return "\n".join(rows)


def options_from(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; what stands after `--` is pytest's."""
    ours, pytests = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        ours, pytests = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", default=" ".join(BACKENDS), help="which, in one string")
    parser.add_argument("--only", metavar="NAME", help="jobs whose name has this in it")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time (default 2)")
    parser.add_argument("--workers", type=int, default=0, help="pytest-xdist's -n inside a job")
    parser.add_argument("--limit", type=int, default=2700, help="seconds a job may take")
    options = parser.parse_args(ours)
    options.pytest = pytests
    options.backends = options.backends.replace(",", " ").split()
    for name in options.backends:
        if name not in BACKENDS:
            parser.error(f"unknown backend {name!r}: choose from {', '.join(BACKENDS)}")
        if find_spec(name) is None:
            parser.error(f'{name} is not installed: try `make test BACKENDS="..."` without it')
    if not options.backends:
        parser.error("no backend: there is nothing to test")
    return options


def main(arguments: list[str]) -> int:
    """Run the jobs, two at a time; 0 if every one of them passed."""
    options = options_from(arguments)
    jobs = jobs_for(options.backends)
    if options.only:
        jobs = [job for job in jobs if options.only in job.name]
    if any(job.first_on_path and not job.first_on_path.is_dir() for job in jobs):
        print(f"There is no {OLDEST}: `make test` installs it.", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    started = time.monotonic()
    print(
        f"{len(jobs)} jobs, {options.jobs} at a time: {'; '.join(job.name for job in jobs)}",
        flush=True,
    )
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda job: run(job, options), jobs))
    print("\n" + table(outcomes))
    print(summary(outcomes, time.monotonic() - started))
    return 0 if outcomes and not any(outcome.trouble for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
