"""`steelyard watch`: a training from its run file, once, and while it goes on."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module

import pytest

from steelyard.readings import RunStep, run_writer
from steelyard.records import Finding, Reading

pytestmark = pytest.mark.no_keras


def step(number):
    readings = (
        Reading("body/kernel", "l2_norm", float(number)),
        Reading("head/kernel", "l2_norm", 2.0),
    )
    return RunStep(number, 0, number, readings, {"loss": 1 / number})


@pytest.fixture(params=[".db", ".jsonl", ".parquet"])
def path(request, tmp_path):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"run{request.param}"
    writer = run_writer(path, {"source": "Functional 'net'"})
    for number in (1, 2, 3):
        writer.append(step(number))
    writer.found(
        Finding("exploding-update", "head/kernel", "It moves a lot.", "Lower the rate.", 3)
    )
    writer.close()
    return str(path)


def test_once(run, path):
    lines = run("watch", path, "--once").stdout.splitlines()
    assert lines[0] == "Functional 'net': step 3, batch 3 of epoch 1; 3 steps measured"
    assert lines[1] == "loss 0.3333 █▃▁"
    assert lines[2].startswith("! exploding-update  head/kernel at step 3: It moves a lot.")
    assert [line.split() for line in lines[3:]] == [
        ["address", "l2_norm"],
        ["head/kernel", "2", "▄▄▄"],
        ["body/kernel", "3", "▁▅█"],
    ]


def test_a_pipe_is_written_to_once(run, path):
    assert run("watch", path).stdout == run("watch", path, "--once").stdout


def test_what_is_asked_for(run, path):
    out = run("watch", path, "--metrics", "l2_norm", "--select", "body/**").stdout
    assert "body/kernel" in out and len(out.splitlines()) == 5
    assert "'mean' is not measured" in run("watch", path, "--metrics", "mean", code=2).stderr


def test_no_such_file(run, tmp_path):
    assert "There is no file" in run("watch", str(tmp_path / "run.db"), code=2).stderr


def test_the_page_of_a_run(run, path, tmp_path):
    page = tmp_path / "page.html"
    out = run("report", path, "--out", str(page)).stdout
    assert "1 thing to look at" in out and "It moves a lot." in out
    text = page.read_text()
    assert '"steps":[1,2,3]' in text and "Weights of Functional" in text


class Terminal:
    """The command in a terminal, for the while: what it writes there, and how it ends."""

    def __init__(self, *arguments):
        self._ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from steelyard.cli import main; main()", *arguments]
        env = {**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"}
        streams = dict(stdin=theirs, stdout=theirs, stderr=theirs)
        self.process = subprocess.Popen(command, env=env, **streams)
        os.close(theirs)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self):
        # Reading fails when nobody is at the other end any more.
        with contextlib.suppress(OSError):
            while piece := os.read(self._ours, 1 << 16):
                self._written.extend(piece)

    def shown(self):
        return self._written.decode(errors="replace")

    def wait_for(self, text):
        end = time.monotonic() + 30
        while text not in self.shown():
            assert time.monotonic() < end and self.process.poll() is None, self.shown()
            time.sleep(0.02)

    def end(self):
        """The exit status, and all that was written."""
        status = self.process.wait(30)
        self._reader.join(30)
        return status, self.shown()


def test_a_training_is_followed_until_it_ends(tmp_path):
    path = tmp_path / "run.db"
    with Terminal("watch", str(path), "--every", "0.1") as terminal:
        terminal.wait_for("Waiting for")
        path.touch()  # SQLite makes an empty file first
        time.sleep(0.3)
        writer = run_writer(path, {"source": "Functional 'net'"})
        writer.append(step(1))
        terminal.wait_for("step 1, batch 1")
        writer.append(step(2))
        terminal.wait_for("step 2, batch 2")
        writer.append(step(3))
        writer.close()
        status, shown = terminal.end()
    assert status == 0
    assert "step 3, batch 3 of epoch 1; 3 steps measured" in shown
    assert shown.rstrip().endswith("The training has ended.")


def test_ctrl_c_leaves_the_training_alone(tmp_path):
    path = tmp_path / "run.jsonl"
    writer = run_writer(path)
    writer.append(step(1))
    with Terminal("watch", str(path), "--every", "0.1") as terminal:
        terminal.wait_for("step 1, batch 1")
        terminal.process.send_signal(signal.SIGINT)
        status, shown = terminal.end()
    writer.close()
    assert status == 0
    assert "No longer watched; the training goes on." in shown


def test_a_file_that_does_not_tell_is_left_after_a_while(tmp_path):
    path = tmp_path / "run.jsonl"
    writer = run_writer(path)
    writer.append(step(1))
    writer.close()
    with Terminal("watch", str(path), "--every", "0.1", "--patience", "0.3") as terminal:
        status, shown = terminal.end()
    assert status == 0 and "Nothing new has come." in shown


def test_what_is_no_run_is_not_waited_for(tmp_path):
    path = tmp_path / "run.db"
    path.write_bytes(b"something else" * 100)
    os.utime(path, (1e9, 1e9))
    with Terminal("watch", str(path)) as terminal:
        status, shown = terminal.end()
    assert status == 2 and "cannot be used as a run" in shown


def test_a_run_that_does_not_come(tmp_path):
    told = ("--every", "0.1", "--patience", "0.2")
    with Terminal("watch", str(tmp_path / "[b]run.db"), *told) as terminal:
        status, shown = terminal.end()
    assert status == 2 and "none came in 0.2 seconds" in shown
    assert "[b]run.db" in shown


def test_a_run_that_begins_while_its_file_is_looked_at_is_not_over(tmp_path, monkeypatch):
    module, path, writers = import_module("steelyard.cli.watch"), tmp_path / "run.db", []
    path.touch()
    read = module._begun

    def begun(file):
        if not writers:
            writers.append(run_writer(path))
            writers[0].append(step(1))
        return read(file)

    monkeypatch.setattr(module, "_begun", begun)
    states = module._states(str(path), 0.01, 20)
    assert len(next(states)) == 1
    writers[0].append(step(2))
    writers[0].close()
    assert [len(run) for run in states][-1:] == [2]
