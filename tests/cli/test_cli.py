"""The command line, as far as it goes without Keras."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

import steelyard
import steelyard.cli
from steelyard.cli import demo as verb
from steelyard.cli import main

pytestmark = pytest.mark.no_keras

HEAVY = ("keras", "tensorflow", "jax", "torch", "rich", "h5py", "numpy", "sklearn")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages look as if they were not installed."""
    found = {name: object() for name in (*verb.BACKENDS, "sklearn") if name not in names}
    monkeypatch.setattr(verb, "find_spec", found.get)


@pytest.fixture(autouse=True)
def _no_backend_named(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


# --- help, version, wrong usage -----------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["-h"], ["--version"], *([name, "--help"] for name in steelyard.cli._VERBS)],
    ids=" ".join,
)
def test_help_and_version_load_nothing_heavy(arguments):
    code = (
        f"import sys; from steelyard.cli import main; main({arguments!r}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_verb():
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {name}" in result.output for name in main.list_commands(click.Context(main)))


def test_a_verb_may_have_the_name_of_a_builtin():
    assert run("list", "--help").exit_code == 0
    assert run("--help").exit_code == 0  # that `cli.list` is a module now does no harm


def test_version():
    assert run("--version").output == f"steelyard {steelyard.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demmo"], "No such command 'demmo'"),
        (["--loud"], "No such option"),
        (["demo", "--epochs", "0"], "--epochs"),
        (["demo", "--epochs", "many"], "--epochs"),
        (["demo", "--backend", "numpy"], "tensorflow"),
        (["demo", "digits"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(arguments, says):
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


# --- errors -------------------------------------------------------------------------------------


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """What comes of the demo when `error` is raised in it."""

    def choose_backend(asked):
        raise error

    monkeypatch.setattr(verb, "choose_backend", choose_backend)
    return run(*arguments)


def test_our_error_is_one_line(monkeypatch):
    result = failing(steelyard.SteelyardError("No weight there."), monkeypatch, "demo")
    assert (result.exit_code, result.stderr) == (2, "Error: No weight there.\n")


def test_other_error_is_two_lines(monkeypatch):
    result = failing(RuntimeError("Bad luck.\nLong story."), monkeypatch, "demo")
    assert result.exit_code == 2
    assert result.stderr == "Error: RuntimeError: Bad luck.\nWith --debug it says where.\n"


@pytest.mark.parametrize("arguments", [["--debug", "demo"], ["demo", "--debug"]])
def test_debug_shows_the_traceback(monkeypatch, arguments):
    result = failing(RuntimeError("Bad luck."), monkeypatch, *arguments)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "in choose_backend" in result.stderr


def test_interrupted(monkeypatch):
    result = failing(KeyboardInterrupt(), monkeypatch, "demo")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


# --- what the demo needs ------------------------------------------------------------------------


def test_without_scikit_learn(monkeypatch):
    hide(monkeypatch, "sklearn")
    result = run("demo")
    assert result.exit_code == 2
    assert 'pip install "steelyard[demo]"' in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--backend", "torch"]])
def test_without_a_backend(monkeypatch, arguments):
    hide(monkeypatch, *verb.BACKENDS)
    result = run("demo", *arguments)
    assert result.exit_code == 2
    for name in verb.BACKENDS:
        assert f'"steelyard[{name}]"' in result.stderr
    assert result.stderr.count("\n") == 1


def test_backend_of_the_environment_is_missing(monkeypatch):
    hide(monkeypatch, "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    result = run("demo")
    assert result.exit_code == 2
    assert "jax is not installed" in result.stderr


def test_backend_that_cannot_train(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    result = run("demo")
    assert result.exit_code == 2
    assert "KERAS_BACKEND='openvino'" in result.stderr


# --- which backend ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "named", "configured", "missing", "chosen"),
    [
        ("torch", "jax", "tensorflow", (), "torch"),
        (None, "jax", "torch", (), "jax"),
        (None, None, "torch", (), "torch"),
        (None, None, "torch", ("torch",), "tensorflow"),
        (None, None, "openvino", (), "tensorflow"),
        (None, None, None, (), "tensorflow"),
        (None, None, None, ("tensorflow",), "jax"),
        (None, "", None, ("tensorflow", "jax"), "torch"),
    ],
)
def test_choice_of_backend(monkeypatch, tmp_path, asked, named, configured, missing, chosen):
    hide(monkeypatch, *missing)
    if named is not None:
        monkeypatch.setenv("KERAS_BACKEND", named)
    if configured:
        (tmp_path / "keras.json").write_text(f'{{"backend": "{configured}"}}', encoding="utf-8")
    assert verb.choose_backend(asked) == chosen


@pytest.mark.parametrize("text", ["", "[]", "{}", "{'backend'"])
def test_broken_config_file_is_passed_over(tmp_path, text):
    (tmp_path / "keras.json").write_text(text, encoding="utf-8")
    assert verb._configured_backend() is None
