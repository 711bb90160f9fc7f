"""Every hostile file of `tests/hostile`: listed or refused, soon, in little memory, and no more."""

import json
import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.hostile import FORMATS, ROWS, Listed, Refused, all_cases, make
from tests.hostile.bait import Watch
from tests.hostile.case import CANARY
from tests.hostile.pickles import IDLE, PAYLOADS

pytestmark = pytest.mark.no_keras

ROOT = Path(__file__).parent.parent.parent
CASES = {case.id: case for case in all_cases()}
# Of the processor; by the clock, a busy machine may take longer, and what hangs is ended.
SECONDS, PATIENCE, MEMORY = 10, 90, 300 << 20


class Child:
    """The process that opens the files; one that does not answer is ended, and another started."""

    def __init__(self, folder):
        self.folder = folder
        self.start()

    def start(self):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.child"],
            cwd=self.folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process, self.answers)).start()
        self.base = self._answer(60)["base"]

    @staticmethod
    def _listen(process, answers):
        for line in process.stdout:
            answers.put(json.loads(line))
        answers.put(None)

    def _answer(self, seconds):
        return self.answers.get(timeout=seconds)

    def ask(self, path, folder):
        self.process.stdin.write(json.dumps([str(path), str(folder)]) + "\n")
        self.process.stdin.flush()
        try:
            found = self._answer(PATIENCE)
        except queue.Empty:
            found = {"end": f"no answer in {PATIENCE} s", "says": ""}
        if found is None or "seconds" not in found:
            self.stop()
            self.start()
        return found or {"end": "the process died", "says": ""}

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    child = Child(tmp_path_factory.mktemp("work"))
    yield child
    child.stop()


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file(name, child, tmp_path):
    case = CASES[name]
    path = make(case, tmp_path)
    before = _tree(tmp_path)
    found = child.ask(path, tmp_path / case.id)
    assert found["end"] in ("listed", "refused"), found
    assert found["did"] == []
    assert found["seconds"] < SECONDS
    assert found["memory"] < MEMORY
    assert found["children"] < child.base + MEMORY
    assert _tree(tmp_path) == before
    assert os.listdir(child.folder) == []
    _check_ink(found)
    _check_end(case.end, found)
    for spec in before:  # not to fill the disk with files that pytest would keep
        if spec.is_file() and not spec.is_symlink():
            os.truncate(spec, 0)


def _tree(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def _check_ink(found):
    """No terminal and no page does anything but show it."""
    for line in found["ink"].split("\n"):
        assert line.isprintable(), line
    assert found["says"].isprintable()
    assert "<img" not in found.get("html", "")


def _check_end(end, found):
    if isinstance(end, Refused):
        assert found["end"] == "refused"
        assert re.search(end.says, found["says"]), found["says"]
        assert found["kind"] == "LimitError" or not end.limit
    elif isinstance(end, Listed):
        assert found["end"] == "listed", found["says"]
        assert end.count in (None, found["count"])
        assert found["codes"] == sorted(end.codes)
        assert end.note in found["note"]
        assert end.unread in found["says"]
        assert end.values.items() <= found["values"].items()


def test_every_attack_on_every_format():
    there = {(case.row, case.format) for case in CASES.values()}
    assert there == {(row, name) for row, names in ROWS.items() for name in names}
    assert {name for _, name in there} == set(FORMATS)


@pytest.mark.parametrize("name", sorted({*PAYLOADS} - {*IDLE}))
def test_the_payloads_would_run(name, tmp_path):
    """An attack that does not work would prove nothing."""
    start = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run(
        [sys.executable, "-c", start],
        input=PAYLOADS[name],
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    assert (tmp_path / CANARY).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the watch asks the kernel of Linux")
def test_the_watch_sees_another_process(tmp_path):
    (tmp_path / "secret").write_text("x")
    watch = Watch()
    watch.add(tmp_path / "secret")
    assert watch.seen() == []
    subprocess.run(["cat", tmp_path / "secret"], check=True, capture_output=True)
    assert watch.seen() == [f"somebody opened {tmp_path / 'secret'}"]
