"""Loads all models of a folder in a process that has never seen them; prints what they compute."""

import json
import sys
import traceback
from pathlib import Path

import keras
from tests.laws import zoo


def report(path: Path, case: zoo.Case) -> dict:
    model = keras.models.load_model(path)
    x = zoo.inputs()
    said = {"loaded": zoo.output(model, x, predict=True).tolist()}
    zoo.shift(case, model)
    said["shifted"] = zoo.output(model, x).tolist()
    said["should be"] = zoo.should_be(case, model, x).tolist()
    return said


def main(folder: Path) -> None:
    said = {}
    for name, case in json.loads((folder / "cases.json").read_text()).items():
        try:
            said[name] = report(folder / f"{name}.keras", zoo.BY_NAME[case])
        except Exception:
            said[name] = {"error": traceback.format_exc()[-3000:]}
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
