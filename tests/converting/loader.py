"""Loads the files of a folder by plain Keras, in a process that did not write them."""

import sys
import warnings
from pathlib import Path

import keras
import numpy as np
from tests.converting import trained


def main(folder: Path) -> None:
    for path in sorted(folder.glob("*.keras")):
        keras.backend.clear_session(free_memory=False)
        with warnings.catch_warnings():
            # Keras drops the optimizer of a model that is quantized, or was under LoRA.
            how = "error" if path.stem.startswith(("composite", "subclassed")) else "ignore"
            warnings.filterwarnings(how, message="(?s).*(Skipping|could not be loaded)")
            model = keras.models.load_model(path)
        np.savez(path.with_suffix(".npz"), **trained.state(model))
    for path in sorted(folder.glob("*.weights.h5")):
        keras.backend.clear_session(free_memory=False)
        model = trained.KINDS[path.name.split(".")[0]]()
        trained.outputs(model)  # builds one that is not
        model.load_weights(path)
        np.savez(path.with_suffix(".npz"), outputs=trained.outputs(model))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
