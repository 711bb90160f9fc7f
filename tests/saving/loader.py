"""Loads models in a process that did not build them: one request a line, one answer a line.

A request is `{"path", "by"}`; the answer has the addresses of the loaded model's weights, what it
predicts, and its weights after it has trained on for an epoch.
"""

import json
import sys
import traceback
from typing import Any

import keras
from tests.saving import arrangements

import steelyard as sy

LOADERS = {"steelyard": sy.load_model, "keras": keras.saving.load_model}


def answer(path: str, by: str) -> dict[str, Any]:
    keras.backend.clear_session(free_memory=False)
    model = LOADERS[by](path)
    said: dict[str, Any] = {"predicted": [y.tolist() for y in arrangements.predicted(model)]}
    said["addresses"] = list(sy.weights(model).addresses)
    arrangements.fit(model)
    said["trained"] = [weight.tolist() for weight in model.get_weights()]
    return said


def main() -> None:
    replies = sys.stdout
    sys.stdout = sys.stderr  # what the libraries print is no answer
    for line in sys.stdin:
        try:
            said = answer(**json.loads(line))
        except Exception:
            said = {"error": traceback.format_exc()[-3000:]}
        print(json.dumps(said), file=replies, flush=True)


if __name__ == "__main__":
    main()
