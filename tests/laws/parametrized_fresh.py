"""Loads parametrized models in a process that has never seen them; prints what they compute.

The first argument is the folder, the others name the models that are also trained.
"""

import json
import sys
import traceback
from pathlib import Path

import keras
import numpy as np
from tests.laws import parametrized as table

import steelyard as sy


def report(path: Path, case: table.Case, trained: bool) -> dict:
    model = keras.models.load_model(path)
    x = table.inputs(case.kind)
    said = {
        "loaded": table.output(model, x).tolist(),
        "parametrizations": [
            getattr(p, "__name__", type(p).__name__)
            for p in sy.parametrizations_of(model, case.address)
        ],
        "variables": sorted(variable.path.split("/")[-1] for variable in model.variables),
    }
    if trained:
        was = table.stored(case, model)
        table.fit(case, model)
        said["moved"] = float(np.abs(table.stored(case, model)[0] - was[0]).max())
        said["trained"] = table.output(model, x).tolist()
        said["should be"] = table.should_be(case, model, x).tolist()
    return said


def main(folder: Path, trained: list[str]) -> None:
    said = {}
    for path in folder.glob("*.keras"):
        case = table.BY_NAME[path.stem.replace("_", " ")]
        try:
            said[path.stem] = report(path, case, path.stem in trained)
        except Exception:
            said[path.stem] = {"error": traceback.format_exc()[-3000:]}
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
