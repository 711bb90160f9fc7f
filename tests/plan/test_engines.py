"""Every engine gives exactly the readings of one process, whatever becomes of its workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.plan.fragile import SHAPES, Fragile
from tests.plan.ray_head import KEY, listening, running

import steelyard as sy
from steelyard.metrics import chosen
from steelyard.opening import opener
from steelyard.plan import plan_of, run
from steelyard.plan._ray import _init
from steelyard.plan._remote import measured as there
from steelyard.plan._remote import packed

pytestmark = pytest.mark.no_keras

LOCAL = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
METRICS = ["values", "norms", "spectral", "alpha"]


def children():
    """The processes that this one started, and those that these started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if rest[0] != "Z":
            parents[int(stat.parent.name)] = int(rest[1])
    found, todo = set(), [os.getpid()]
    while todo:
        above = todo.pop()
        below = [pid for pid, parent in parents.items() if parent == above]
        found.update(below)
        todo += below
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left_over():
    yield
    assert not [pid for pid in children() if b"steelyard.plan._processes" in cmdline(pid)]


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    source = Fragile(tmp_path_factory.mktemp("reads"))
    return sy.measure(source, METRICS, engine="serial")


def measured(source, engine="processes", **told):
    return sy.measure(source, METRICS, engine=engine, workers=2, **told)


@pytest.fixture(scope="module")
def cluster():
    """A local Dask cluster of two worker processes."""
    distributed = pytest.importorskip("distributed", reason="needs Dask")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        host="127.0.0.1",
    ) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def _a_key_of_its_own():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEY.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def ray():
    """A Ray cluster of two worker processes, to which this process is connected."""
    with running() as (head, _):
        yield head


@pytest.fixture
def engine(request):
    if request.param == "dask":
        return request.getfixturevalue("cluster").scheduler_address
    if request.param == "ray":
        request.getfixturevalue("ray")
    return request.param


on_each = pytest.mark.parametrize("engine", ["processes", "dask", "ray"], indirect=True)
LIBRARIES = {"dask": "distributed", "ray": "ray"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_cluster_for_the_while(name, expected, tmp_path):
    # First of all, so that no process of the other clusters is among the children.
    pytest.importorskip(LIBRARIES[name], reason=f"needs {name}")
    before = children()
    heard = set()

    def listen(done, total):
        heard.update(address for address, _ in listening() - before_listening)

    before_listening = listening()
    assert measured(Fragile(tmp_path), name, progress=listen) == expected
    assert heard and heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    deadline = time.monotonic() + 10
    while (left := more_than(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def more_than(before):
    """The processes that came since then, but the one that Python itself keeps for cleaning up."""
    return [pid for pid in children() - before if b"resource_tracker" not in cmdline(pid)]


@on_each
def test_the_readings_are_those_of_one_process(engine, expected, tmp_path):
    source = Fragile(tmp_path)
    assert measured(source, engine) == expected
    assert len(source.lines()) == len(SHAPES)
    assert len({line.split()[1] for line in source.lines()}) == 2
    assert str(os.getpid()) not in {line.split()[1] for line in source.lines()}


@on_each
def test_a_worker_that_is_killed_in_mid_run_loses_nothing(engine, expected, tmp_path):
    source = Fragile(tmp_path, slow=0.02)
    killed = []

    def kill(done, total):
        if not killed:
            killed.append(int(source.lines()[-1].split()[1]))
            os.kill(killed[0], signal.SIGKILL)

    assert measured(source, engine, progress=kill) == expected
    assert killed
    # What the other worker did is not done again: at most the batch that the lost one had.
    assert len(source.lines()) - len(SHAPES) <= 12


def test_what_ends_its_worker_once_is_repeated(expected, tmp_path):
    source = Fragile(tmp_path, fatal={"w3": 1})
    assert measured(source) == expected
    assert source.read_times("w3") == 2


def test_what_always_ends_its_worker_ends_nothing_else(expected, tmp_path):
    source = Fragile(tmp_path, fatal={"w3": 99, "w20": 99})
    got = measured(source)
    for reading in got:
        if reading.address in ("w3", "w20"):
            assert reading.status == "failed"
            assert reading.reason == "the worker was lost 3 times: signal 9"
        else:
            assert reading == expected[reading.address, reading.metric]
    assert source.read_times("w3") == source.read_times("w20") == 3


def test_a_file_travels_as_its_path(tmp_path, monkeypatch):
    arrays = {f"w{i}": np.random.default_rng(i).normal(size=(60, 9 + i)) for i in range(9)}
    np.savez(tmp_path / "x.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    got = sy.measure("x.npz", "all", engine="processes", workers=2)
    assert got == sy.measure("x.npz", "all")
    assert {reading.status for reading in got} >= {"ok"}


def test_one_that_cannot_be_opened_there_is_a_reason(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.ones((3, 3)))

    plan = plan_of(sy.weights(tmp_path / "x.npz").specs, chosen("l2_norm"))
    opened = opener(tmp_path / "x.npz")
    (tmp_path / "x.npz").unlink()
    ((_, (reading,)),) = run(plan, opened, engine="processes")
    assert reading.status == "failed" and "there is no such file" in reading.reason


def test_it_goes_on_where_it_was_broken_off(expected, tmp_path):
    source, path = Fragile(tmp_path, slow=0.01), tmp_path / "kept.jsonl"

    def stop(done, total):
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(source, resume=path, progress=stop)
    assert len(sy.Readings.load(path)) == 12 * len(expected) / len(SHAPES)
    before = len(source.lines())
    assert measured(source, resume=path) == expected
    assert len(source.lines()) - before == len(SHAPES) - 12


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_its_workers_end_with_it(by, tmp_path):
    """A process that is killed while its workers are at work, and one that gets Ctrl-C."""
    code = (
        "import steelyard as sy, sys; from tests.plan.fragile import Fragile\n"
        "sy.measure(Fragile(sys.argv[1], slow=0.3), 'mean', engine='processes', workers=2)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=os.getcwd(),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    source = Fragile(tmp_path)
    deadline = time.monotonic() + 30
    while not source.lines() and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = {int(line.split()[1]) for line in source.lines()}
    os.killpg(child.pid, by)  # as a terminal does
    _, said = child.communicate(timeout=30)
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    # Of its own at most; the workers have nothing to say.
    assert said.count("Traceback") == (by == signal.SIGINT), said


def test_a_worker_keeps_to_its_share_of_the_memory(tmp_path):
    got = measured(Fragile(tmp_path), max_memory=2 * 100_000)
    assert got["w0", "l2_norm"].status == "ok"
    assert got["w7", "l2_norm"].status == "too large"


def test_asking_for_far_more_than_allowed_is_too_large(tmp_path):
    source = Greedy(tmp_path)
    plan = plan_of(source.specs()[:1], chosen("mean"))
    ((reading,),) = there(packed(opener(source), plan, 1e6), plan.tasks)
    assert reading.status == "too large" and "no memory" in reading.reason


class Greedy(Fragile):
    """Reading takes far more memory than what is read."""

    def read(self, address):
        return np.ones(1 << 29, "float32")[: 300 * 40].reshape(300, 40)


def test_what_lives_in_this_process_does_not_travel(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.ones((3, 3)))
    selection = sy.weights(tmp_path / "x.npz")
    with pytest.raises(sy.errors.SourceError, match="Pass the path of a file"):
        sy.measure(selection, engine="processes")
    for held in (selection.source, Locked(tmp_path)):
        with pytest.raises(sy.SteelyardError, match="cannot be sent to them"):
            sy.measure(held, engine="processes")


class Locked(Fragile):
    """What cannot be pickled."""

    def __init__(self, folder):
        super().__init__(folder)
        self.lock = threading.Lock()


def test_a_script_without_a_guard(tmp_path):
    """Nothing of the caller runs twice."""
    np.savez(tmp_path / "x.npz", w=np.ones((3, 3)))
    script = tmp_path / "script.py"
    script.write_text(
        "import steelyard as sy\nprint('once')\n"
        "print(sy.measure('x.npz', 'l2_norm', engine='processes')['w', 'l2_norm'].value)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["once", "3.0"]


# --- Clusters ---


@pytest.mark.parametrize("engine", ["dask", "ray"], indirect=True)
def test_what_always_ends_its_worker_in_a_cluster(engine, request, expected, tmp_path, monkeypatch):
    told = "Ray says WorkerCrashedError"
    if engine != "ray":
        cluster, told = request.getfixturevalue("cluster"), "Dask gave up on it"
        monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    got = measured(Fragile(tmp_path, fatal={"w3": 99}), engine)
    for reading in got:
        if reading.address == "w3":
            assert reading.status == "failed"
            assert f"the worker was lost 3 times: {told}" in reading.reason
        else:
            assert reading == expected[reading.address, reading.metric]


@pytest.mark.parametrize(
    "name, address, match",
    [
        ("dask", "tcp://127.0.0.1:1", "No Dask scheduler answers at"),
        ("ray", "ray://127.0.0.1:1", "No Ray cluster answers at"),
    ],
)
def test_nobody_there(name, address, match, monkeypatch, tmp_path):
    library = pytest.importorskip(LIBRARIES[name], reason=f"needs {name}")
    if name == "ray":  # as in a process that is connected to none
        monkeypatch.setattr(library, "is_initialized", lambda: False)
    monkeypatch.setattr(f"steelyard.plan._{name}._SECONDS", 0.5)
    with pytest.raises(sy.SteelyardError, match=match):
        measured(Fragile(tmp_path), address)


def test_a_cluster_without_workers(monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs Dask")
    monkeypatch.setattr("steelyard.plan._dask._SECONDS", 0.5)
    with (
        distributed.LocalCluster(
            n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as empty,
        pytest.raises(sy.SteelyardError, match="has no worker"),
    ):
        measured(Fragile(tmp_path), empty.scheduler_address)


def test_a_ray_cluster_without_workers(ray, monkeypatch, tmp_path):
    import ray as library

    monkeypatch.setattr("steelyard.plan._ray._SECONDS", 0.1)
    nodes = [node | {"Resources": {"CPU": 0.5}} for node in library.nodes()]
    monkeypatch.setattr(library, "nodes", lambda: nodes)
    with pytest.raises(sy.SteelyardError, match="has no CPU for a worker"):
        measured(Fragile(tmp_path), "ray")


def test_one_ray_cluster_at_a_time(ray, tmp_path):
    with pytest.raises(sy.SteelyardError, match="connected to a Ray cluster already"):
        measured(Fragile(tmp_path), ray.client)


def test_another_version_there(ray, monkeypatch, tmp_path):
    monkeypatch.setattr("steelyard.__version__", "0.0.0")
    with pytest.raises(sy.SteelyardError, match="their readings might differ"):
        measured(Fragile(tmp_path), "ray")


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_a_ray_client_server_that_did_not_start_is_asked_for_again(failures):
    """On a busy machine it may not come up in the time that Ray gives it."""

    class Library:
        def __init__(self):
            self.tried = 0

        def init(self, address, **told):
            self.tried += 1
            if self.tried <= failures:
                raise ConnectionAbortedError("Initialization failure from server")

        def shutdown(self):
            pass

    library = Library()
    if failures < 3:
        _init(library, "ray://there:1")
        assert library.tried == failures + 1
    else:
        with pytest.raises(ConnectionAbortedError):
            _init(library, "ray://there:1")


def test_a_ray_cluster_by_its_address(ray, tmp_path):
    """From another process, which is left connected to nothing."""
    code = (
        "import os, sys, steelyard as sy; from tests.plan.fragile import Fragile\n"
        "told, there = [Fragile(sys.argv[1]), 'norms'], sys.argv[2]\n"
        "expected = sy.measure(*told, engine='serial')\n"
        "assert sy.measure(*told, engine=there) == expected\n"
        "os.environ['RAY_ADDRESS'] = there\n"
        "assert sy.measure(*told, engine='ray') == expected\n"
        "import ray; assert not ray.is_initialized()\n"
    )
    told = [sys.executable, "-c", code, str(tmp_path), ray.client]
    subprocess.run(told, cwd=os.getcwd(), check=True)
    assert len({line.split()[1] for line in Fragile(tmp_path).lines()}) >= 3


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_is_not_installed(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    match = rf"pip install .steelyard\[{name}\]"
    with pytest.raises(sy.errors.MissingDependencyError, match=match):
        measured(Fragile(tmp_path), name)
