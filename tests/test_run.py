"""`tests/run.py` must never report a run as better than it was."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_keras

_spec = importlib.util.spec_from_file_location("run", Path(__file__).parent / "run.py")
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)

JOB = run.Job("jax", "not no_keras", "jax")


def outcome(status=0, **counts):
    return run.Outcome(JOB, status, 1.0, Counter(counts))


@pytest.mark.parametrize(
    ("what", "trouble"),
    [
        (outcome(passed=3), ""),
        (outcome(skipped=3), ""),
        (outcome(), "ran no tests"),
        (outcome(5), "collected no tests"),
        (outcome(1, passed=2, failed=1), "failed"),
        (outcome(-9, passed=2), "crashed (exit status -9)"),
        (outcome(2), "crashed (exit status 2)"),
    ],
)
def test_trouble(what, trouble):
    assert what.trouble == trouble


def test_summary_adds_up_all_jobs():
    line = run.summary([outcome(passed=3, skipped=1), outcome(1, passed=2, failed=1)], 1.5)
    assert line.strip("= ") == "1 failed, 5 passed, 1 skipped in 1.50s"
    assert len(line) == 80


def test_a_job_that_crashed_counts_as_an_error():
    line = run.summary([outcome(passed=3), outcome(-9), outcome(5)], 1.5)
    assert line.strip("= ") == "3 passed, 2 errors in 1.50s"


def test_counts_come_from_the_report(tmp_path):
    report = tmp_path / "report.xml"
    assert run.counts_in(report) == Counter()
    report.write_text('<testsuites><testsuite tests="7" failures="1" errors="2" skipped="1"/>')
    assert run.counts_in(report) == Counter()
    report.write_text(report.read_text() + "</testsuites>")
    assert run.counts_in(report) == Counter(passed=3, failed=1, error=2, skipped=1)


def test_each_job_gets_its_own_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    jobs = {job.name: run.environment(job) for job in run.jobs_for(["tensorflow", "jax"])}
    assert jobs["tensorflow"]["KERAS_BACKEND"] == "tensorflow"
    assert jobs["oldest Keras, tensorflow"]["PYTHONPATH"].startswith(str(run.OLDEST))
    assert "KERAS_BACKEND" not in jobs["no Keras"]
