"""Loads models in a process that did not build them: one request a line, one answer a line.

A request is `{"path", "inputs", "add", "losses"}`; the answer has the addresses of the loaded
model's weights, its predictions, and what they are after 0.25 is added to the weights named by
`add`. If asked, also `model.losses` before and after that.
"""

import json
import sys
import traceback
from typing import Any

import keras
import numpy as np
from tests.laws import users, zoo

import steelyard as sy

KNOWN = (users, zoo)  # their classes are registered now


def answer(path: str, inputs: list, add: list[str], losses: bool = False) -> dict[str, Any]:
    keras.backend.clear_session(free_memory=False)
    model = keras.models.load_model(path)
    x = np.asarray(inputs, "float32")
    said = {"predicted": predicted(model, x)}
    weights = sy.weights(model)
    said["losses"] = [float(loss) for loss in model.losses] if losses else None
    said["addresses"] = list(weights.addresses)
    said["values"] = {weight.address: weight.numpy().tolist() for weight in weights}
    for address in add:
        weights[address].assign(weights[address].numpy() + 0.25)
    said["after"] = predicted(model, x) if add else None
    said["losses after"] = [float(loss) for loss in model.losses] if losses else None
    return said


def predicted(model: keras.Model, x: np.ndarray) -> list:
    given = model.predict(x, verbose=0)
    return [np.asarray(y, "float32").tolist() for y in keras.tree.flatten(given)]


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
