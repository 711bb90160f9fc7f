"""Names that would rearrange a terminal or a page that shows them."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Listed, Refused, written
from tests.hostile.good import (
    CONFIG,
    DENSE,
    HDF5,
    KERNEL,
    M,
    bundle,
    config_in,
    hdf5,
    hdf5_in,
    index,
    npy,
    npz,
    orbax,
    orbax_names,
    pt,
    row,
    safetensors,
    saved_model,
    shards,
    state_dict,
    tensor,
    tensors,
    told,
)

EVIL = {
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "bidi": "a\u202egpj.\u2066b",
    "lines": "a\r\n2 weights, 0 parameters\x0b\u2028",
    "html": "<img src=x onerror=alert(1)>&quot;",
    "markup": "[bold red]x[/] [link=file:x]y[/link]",
    "zero-width": "ke\u200brnel\ufeff\U000e0041",
    "c1": "\x9b31mred\x85",
}


def names() -> Iterator[Case]:
    for what, evil in EVIL.items():
        yield from _flat(what, evil)
        yield from _refused(what, evil)
        make = partial(hdf5_in, "weights.h5", make=partial(_groups, evil))
        yield Case("names", "weights.h5", f"group-{what}", make, Listed(3, ("dtype",)))
    everything = "".join(EVIL.values())
    for name in HDF5:
        make = partial(hdf5_in, name, make=partial(_groups, everything))
        yield Case("names", name, "groups", make, Listed(3, ("dtype",)))
    layer = DENSE | {"config": {"name": everything, "units": 4}}
    config = json.dumps(CONFIG | {"config": {"name": everything, "layers": [layer]}}).encode()
    for name in ("keras", "keras-folder", "legacy.h5"):
        make = partial(config_in, name, config=config)
        yield Case("names", name, "in-the-config", make, Listed())


def _groups(evil: str, file: Any) -> None:
    top = "layers" if "layers" in file else "model_weights"
    group = file.create_group(f"{top}/{evil}" if top == "model_weights" else f"{top}/{evil}/vars")
    group.attrs["name"] = evil
    group["0"] = KERNEL
    group["text"] = ["no number"]  # a finding that has the name in it


def _flat(what: str, evil: str) -> Iterator[Case]:
    end = Listed(1)
    yield Case("names", "orbax", what, partial(orbax, arrays={evil: KERNEL}), end)
    yield Case("names", "safetensors", what, written("x.safetensors", tensors(evil)), end)
    make = partial(index, weight_map={evil: "x.safetensors"}, data=tensors(evil))
    yield Case("names", "safetensors-index", what, make, end)
    zipped = npz(M(f"{evil}.npy", npy(KERNEL)), M(f"{evil}.txt"))
    yield Case("names", "npz", what, written("x.npz", zipped), end)
    pickle = state_dict((evil, tensor()), (f"{evil}!", b"N"))
    yield Case("names", "pt", what, written("x.pt", pt(pickle)), end)
    for name, make in (("tensorflow", bundle), ("saved-model", saved_model)):
        items = [row(evil), row(f"{evil}!", kind=7)]
        yield Case("names", name, what, partial(make, items=items, data=KERNEL.tobytes()), end)


def _refused(what: str, evil: str) -> Iterator[Case]:
    """An error that has the name in it."""
    end = Refused()
    names = orbax_names(evil, "a")
    make = partial(orbax, arrays={"a": KERNEL}, names=names)
    yield Case("names", "orbax", f"refused-{what}", make, end)
    wrong = safetensors({evil: told() | {"dtype": evil}}, KERNEL.tobytes())
    yield Case("names", "safetensors", f"refused-{what}", written("x.safetensors", wrong), end)
    yield Case(
        *("names", "safetensors-index", f"refused-{what}"),
        partial(index, weight_map={evil: f"{evil}.safetensors"}),
        end,
    )
    yield Case(
        *("names", "shards", f"refused-{what}"),
        partial(shards, weight_map={evil: f"{evil}.h5"}, weights=hdf5()),
        end,
    )
    yield Case(
        *("names", "npz", f"refused-{what}"),
        written("x.npz", npz(M(f"{evil}.npy", b"none"))),
        end,
    )
    call = b"c" + evil.replace("\n", "").encode() + b"\nx\n)R"
    pickle = state_dict((evil, call))
    yield Case("names", "pt", f"refused-{what}", written("x.pt", pt(pickle)), end)
    yield Case(
        *("names", "tensorflow", f"refused-{what}"),
        partial(bundle, items=[row(evil, shape=(5,))], data=KERNEL.tobytes()),
        end,
    )
    yield Case("names", "weights.h5", f"refused-{what}", partial(_cut, evil), end)


def _cut(evil: str, folder: Path) -> Path:
    """A bomb that is refused when it is read, with the name of its group."""

    def make(file: Any) -> None:
        group = file.create_group(f"layers/{evil}/vars")
        group.create_dataset("0", (1 << 20, 1 << 20), "float32", chunks=(64, 64))
        file.create_group(f"layers/{evil}/" + "/".join("d" * 100))

    return hdf5_in("weights.h5", folder, make)
