"""`steelyard watch`: a training from its run file, once, and while it goes on."""

import os
import pty
import subprocess
import sys
import threading
import time

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


def in_a_terminal(*arguments):
    """Starts the command with a terminal, and gives what it has written there when it has ended."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from steelyard.cli import main; main()", *arguments]
    env = {**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    written = bytearray()

    def read():
        try:
            while piece := os.read(ours, 1 << 16):
                written.extend(piece)
        except OSError:  # the terminal is gone
            pass

    thread = threading.Thread(target=read)
    thread.start()
    return process, written, thread, ours


def wait_for(written, text):
    end = time.monotonic() + 30
    while text not in written.decode(errors="replace"):
        assert time.monotonic() < end, written.decode(errors="replace")
        time.sleep(0.02)


def test_a_training_is_followed_until_it_ends(tmp_path):
    path = tmp_path / "run.db"
    process, written, thread, ours = in_a_terminal("watch", str(path), "--every", "0.1")
    wait_for(written, "Waiting for")
    writer = run_writer(path, {"source": "Functional 'net'"})
    writer.append(step(1))
    wait_for(written, "step 1, batch 1")
    writer.append(step(2))
    wait_for(written, "step 2, batch 2")
    writer.append(step(3))
    writer.close()
    assert process.wait(30) == 0
    thread.join()
    os.close(ours)
    shown = written.decode()
    assert "step 3, batch 3 of epoch 1; 3 steps measured" in shown
    assert shown.rstrip().endswith("The training has ended.")


def test_ctrl_c_leaves_the_training_alone(tmp_path):
    path = tmp_path / "run.jsonl"
    writer = run_writer(path)
    writer.append(step(1))
    process, written, thread, ours = in_a_terminal("watch", str(path), "--every", "0.1")
    wait_for(written, "step 1, batch 1")
    process.send_signal(2)
    assert process.wait(30) == 0
    thread.join()
    os.close(ours)
    assert "No longer watched; the training goes on." in written.decode()
    writer.close()


def test_a_file_that_does_not_tell_is_left_after_a_while(tmp_path):
    path = tmp_path / "run.jsonl"
    writer = run_writer(path)
    writer.append(step(1))
    process, written, thread, ours = in_a_terminal(
        "watch", str(path), "--every", "0.1", "--patience", "0.3"
    )
    assert process.wait(30) == 0
    thread.join()
    os.close(ours)
    assert "Nothing new has come." in written.decode()
    writer.close()
