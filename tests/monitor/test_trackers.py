"""The trackers, each with its real library, offline; skipped where that is not installed."""

import pytest
from tests.monitor.training import IMAGES, LABELS, fit, model

import steelyard as sy

SHORT = dict(x=IMAGES[:128], y=LABELS[:128], epochs=1)
KEY = "l2_norm/head/kernel"


def trained(sink):
    """A training measured after each batch, and what an object was told of it."""
    told = {}

    def own(step, readings):
        told[step] = readings["head/kernel", "l2_norm"].value

    monitor = sy.Monitor("l2_norm", every=1, sinks=[sink, own], on_error="raise")
    fit(model("sgd", False), monitor, **SHORT)
    return told


@pytest.mark.parametrize("given", ["name", "module", "run"])
def test_mlflow(given, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("steelyard")
    with mlflow.start_run() as run:
        told = trained({"name": "mlflow", "module": mlflow, "run": run}[given])
    if hasattr(mlflow, "flush_async_logging"):
        mlflow.flush_async_logging()
    history = mlflow.tracking.MlflowClient().get_metric_history(run.info.run_id, KEY)
    assert {one.step: one.value for one in history} == told


@pytest.mark.parametrize("given", ["module", "run"])
def test_wandb(given, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path, project="steelyard") as run:
        run.log({"mine": 1.0}, step=100)  # ahead of ours: wandb would drop a lower step
        told = trained({"module": wandb, "run": run}[given])
        assert run.summary[KEY] == told[2]
        assert run.summary["steelyard/step"] == 2


@pytest.mark.parametrize("given", ["module", "run"])
def test_trackio(given, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    run = trackio.init(project=f"steelyard-{given}", name="one", embed=False)
    told = trained({"module": trackio, "run": run}[given])
    trackio.finish()
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs(f"steelyard-{given}", "one")
    assert {row["step"]: row[KEY] for row in rows if KEY in row} == told


@pytest.mark.parametrize("name", ["mlflow", "wandb", "trackio"])
def test_without_the_library_the_error_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(sy.errors.MissingDependencyError, match=f"pip install {name}"):
        sy.Monitor(sinks=name)
