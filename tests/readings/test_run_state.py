"""Whether a run goes on."""

import sqlite3
from importlib.util import find_spec

import pytest

from steelyard.readings import Run, RunStep, run_file, run_is_open, run_writer
from steelyard.records import Reading

pytestmark = pytest.mark.no_keras

needs_arrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs PyArrow")
STEP = RunStep(1, 0, 1, (Reading("a", "m", 1.0),))


@pytest.mark.parametrize("ending", [".db", pytest.param(".parquet", marks=needs_arrow)])
def test_from_its_begin_to_its_end(tmp_path, ending):
    path = tmp_path / f"run{ending}"
    writer = run_writer(path)
    writer.append(STEP)
    assert run_is_open(path) is True
    assert len(Run.load(run_file(path))) == 1
    writer.close()
    assert run_is_open(path) is False
    assert run_file(path) == path
    assert len(Run.load(path)) == 1


def test_a_killed_one_stays_open(tmp_path):
    writer = run_writer(tmp_path / "run.db")
    writer.append(STEP)
    copy = tmp_path / "copy.db"
    for end in ("", "-wal"):  # what is left of it after SIGKILL
        (tmp_path / f"copy.db{end}").write_bytes((tmp_path / f"run.db{end}").read_bytes())
    writer.close()
    assert run_is_open(copy) is True
    with sqlite3.connect(copy) as file:
        assert file.execute("SELECT count(*) FROM steps").fetchone() == (1,)


def test_lines_do_not_tell(tmp_path):
    run_writer(tmp_path / "run.jsonl").close()
    assert run_is_open(tmp_path / "run.jsonl") is None
