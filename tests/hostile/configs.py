"""Configs with code, with paths and with URLs in them: they are text here, and nothing else."""

import base64
import json
import marshal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.hostile.case import RUNS, Case, Listed, Refused, bait
from tests.hostile.good import (
    CONFIG,
    DENSE,
    HDF5,
    KERNEL,
    bundle,
    config_in,
    hdf5,
    index,
    orbax,
    orbax_names,
    row,
    shards,
)

WITH_CONFIG = ("keras", "keras-folder", "legacy.h5")


def _code() -> str:
    return base64.b64encode(marshal.dumps(compile(RUNS, "x", "exec"))).decode()


def _layer(kind: str, where: str | None = "keras.layers", /, **config: Any) -> dict[str, Any]:
    return {"module": where, "class_name": kind, "config": {"name": kind.lower(), **config}}


def _function(name: str, module: str = "builtins") -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _hostile_layers() -> dict[str, dict[str, Any]]:
    lambda_ = {"class_name": "__lambda__", "config": {"code": _code(), "defaults": None}}
    return {
        "lambda bytecode": _layer("Lambda", function=lambda_),
        "lambda of keras 2": _layer("Lambda", None, function=[_code(), None, None]),
        "foreign module": _layer("system", "os", command=f"touch {RUNS}"),
        "module that runs": _layer("Canary", "tests.hostile.canary"),
        "function reference": _layer("Lambda", function=_function("exec"), arguments=[RUNS]),
        "turned off safety": _layer("enable_unsafe_deserialization", "keras.config"),
        "a switch": _function("enable_unsafe_deserialization", "keras.src.config"),
        "saved model": _layer("TFSMLayer", filepath="/tmp/x", call_endpoint="serve"),
        "torch module": _layer(
            "TorchModuleWrapper", "keras.src.utils.torch_utils", module=_code(), safe_mode=False
        ),
        "registered": DENSE | {"registered_name": "os>system"},
        "class with dots": _layer("os.system"),
        "activation": DENSE | {"config": {**DENSE["config"], "activation": _function("eval")}},
    }


def _with(*layers: dict[str, Any]) -> bytes:
    inner = {"name": "model", "layers": [DENSE, *layers]}
    return json.dumps(CONFIG | {"config": inner}).encode()


def _paths(folder: Path) -> bytes:
    secret = str(bait(folder))
    named = (secret, f"file://{secret}", "http://127.0.0.1:9/x", "../outside/secret", "/dev/zero")
    layers = [
        layer
        for place in named
        for layer in (
            _layer("StringLookup", vocabulary=place),
            _layer("TFSMLayer", filepath=place),
            _layer("Hashing", "keras.layers", salt=place),
        )
    ]
    return _with(*layers)


def code() -> Iterator[Case]:
    for name in WITH_CONFIG:
        for what, layer in _hostile_layers().items():
            if name != "keras" and what != "lambda bytecode":
                continue  # the config goes through one parser
            make = partial(config_in, name, config=_with(layer))
            yield Case("code", name, what.replace(" ", "-"), make, Listed(2))
        same = _with(*[{"class_name": "Model", "config": {"name": "m", "layers": [DENSE]}}] * 3000)
        yield Case("bombs", name, "shared-layers", partial(config_in, name, config=same), Listed())
        everything = _with(*_hostile_layers().values())
        yield Case("code", name, "all", partial(config_in, name, config=everything), Listed(2))


def paths() -> Iterator[Case]:
    for name in WITH_CONFIG:

        def make(folder: Path, name: str = name) -> Path:
            return config_in(name, folder, _paths(folder))

        yield Case("paths", name, "in-the-config", make, Listed(2))
    for number, place in enumerate(_OUTSIDE):
        yield Case(
            *("paths", "safetensors-index", f"shard-{number}"),
            lambda folder, place=place: index(folder, {"a.kernel": place(folder)}),
            Refused(),
        )
        yield Case(
            *("paths", "shards", f"shard-{number}"),
            lambda folder, place=place: shards(folder, {"/vars": place(folder)}, hdf5()),
            Refused(),
        )
        yield Case(
            *("paths", "orbax", f"array-{number}"),
            lambda folder, place=place: orbax(folder, {}, names=orbax_names(place(folder))),
            Refused(),
        )
        yield Case(
            *("paths", "tensorflow", f"latest-{number}"),
            lambda folder, place=place: _latest(folder, place(folder)),
            Refused(),
        )
    yield Case("paths", "tensorflow", "another-file", _another_file, Refused("there is no file"))


_OUTSIDE = (
    lambda folder: str(bait(folder)),
    lambda folder: "../outside/secret",
    lambda folder: "..",
    lambda folder: "/etc/passwd",
    lambda folder: "C:\\x.safetensors",
    lambda folder: "a/../../outside/secret",
    lambda folder: "x\0.safetensors",
    lambda folder: f"file://{bait(folder)}",
    lambda folder: 3,
    lambda folder: ["../outside/secret"],
)


def _latest(folder: Path, place: Any) -> Path:
    (folder / "in").mkdir()
    text = f'model_checkpoint_path: "{place}"\nall_model_checkpoint_paths: "{place}"\n'
    (folder / "in" / "checkpoint").write_text(text)
    return folder / "in"


def _another_file(folder: Path) -> Path:
    return bundle(folder, [row(file=7)], KERNEL.tobytes())


assert set(WITH_CONFIG) <= set(HDF5)
