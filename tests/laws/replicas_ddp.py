"""Trains every case on two processes of PyTorch, and on one; prints what came of it.

The processes begin with different weights: the wrapper hands those of the first to the other, as
far as it knows of them.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from tests.laws import layer as laws
from tests.laws import pair_ddp as pair
from tests.laws import parametrized, zoo
from tests.laws.users import Penalized, entries
from torch import distributed

import steelyard as sy

# Where every parameter is used, the wrapper needs no option; where only the borrower's output is
# trained on, nothing comes of an owner's bias, and the wrapper must be told, as of any model.
WAYS = {
    "as it is": ("after", {}),
    "static graph": ("after", {"static_graph": True}),
    "unused": ("alone", {"find_unused_parameters": True}),
}
# Each case as it is, and by one of the other two.
BORROWED = [
    (case, way)
    for index, case in enumerate(zoo.CASES)
    for way in ("as it is", "unused" if index % 2 else "static graph")
]
FITTED = ("tied", "tie", "two owners")
PENALIZED = ("by_layer", "by_function")
# Keras lists the parameters of a layer for PyTorch by their paths, and these two have one.
NOT_LISTED = ("listed weight norm", "listed mask of two in four")
REWRITTEN = [case for case in parametrized.CASES if case.name not in NOT_LISTED]


def first() -> bool:
    return distributed.get_rank() == 0


def seed() -> int:
    return 3 + distributed.get_rank()


def borrowed(case: zoo.Case, way: str) -> dict[str, Any]:
    place, options = WAYS[way]
    x = zoo.inputs()
    two = zoo.randomize(zoo.PLACES[place](case), seed())
    wrapper = pair.wrapped(two, **options)
    was = zoo.values(case, two)
    wanted = [np.zeros(tuple(y.shape), "float32") for y in keras.tree.flatten(two(x))]
    pair.train(wrapper, x, wanted, 0.1, steps=2)
    return {
        "moved": min(_far(a, b) for a, b in zip(zoo.values(case, two), was, strict=True)),
        "apart": pair.apart(two),
        "listed": listed(two, wrapper),
        **compared(two, lambda: fitted_alone(case, place, x, wanted)),
        "output": zoo.output(two, x).tolist(),
        "should be": zoo.should_be(case, two, x).tolist(),
    }


def compared(model: keras.Model, alone: Callable[[], keras.Model]) -> dict[str, Any]:
    """The weights of a model, and of the one that one process has trained on the whole batch."""
    if not first():
        return {}
    pairs = zip(model.get_weights(), alone().get_weights(), strict=True)
    return {"from one": max(_far(a, b) for a, b in pairs)}


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype("float64") - b).max())


def fitted_alone(case: zoo.Case, place: str, x: np.ndarray, wanted: list[Any]) -> keras.Model:
    """Two steps of `fit` on all outputs."""
    model = zoo.randomize(zoo.PLACES[place](case), seed=3)
    model.compile(keras.optimizers.SGD(0.1), ["mse"] * len(wanted))
    y = wanted if len(wanted) > 1 else wanted[0]
    model.fit(x, y, batch_size=len(x), epochs=2, shuffle=False, verbose=0)
    return model


def listed(model: keras.Model, wrapper: Any) -> bool:
    """Whether torch knows of the very weights that the model has, of each once."""
    known = [id(parameter) for parameter in wrapper.parameters()]
    return len(set(known)) == len(known) and set(known) == {id(v.value) for v in model.variables}


def rewritten(case: parametrized.Case) -> dict[str, Any]:
    x, y = parametrized.inputs(case.kind), parametrized.targets(case)
    two = parametrized.randomize(parametrized.plain(case), seed())
    sy.parametrize(two.get_layer("subject"), case.kind.weight, case.way.make())
    wrapper = pair.wrapped(two)
    was = parametrized.stored(case, two)
    pair.train(wrapper, x, [y], 0.05, steps=2)

    def alone() -> keras.Model:
        one = parametrized.after(case)
        parametrized.fit(case, one, epochs=2)
        return one

    return {
        "moved": _far(parametrized.stored(case, two)[0], was[0]),
        "apart": pair.apart(two),
        "listed": listed(two, wrapper),
        **compared(two, alone),
        "output": parametrized.output(two, x).tolist(),
        "should be": parametrized.should_be(case, two, x).tolist(),
    }


def penalized(make: Callable[[], keras.Model]) -> dict[str, Any]:
    """One step by a penalty alone, whose slope is 1: nothing else is learned, as the head is 0."""
    x = np.ones((4, 4), "float32")
    model = zoo.randomize(make(), seed())
    model.head.kernel.assign(keras.ops.zeros((3, 3)))
    wrapper = pair.wrapped(model)
    was = keras.ops.convert_to_numpy(model.hidden.kernel).tolist()
    pair.train(wrapper, x, [np.zeros((4, 3), "float32")], 0.1)
    now = keras.ops.convert_to_numpy(model.hidden.kernel).tolist()
    return {"was": was, "now": now, "apart": pair.apart(model), "listed": listed(model, wrapper)}


def by_layer() -> keras.Model:
    model = Penalized()
    model(np.ones((4, 4), "float32"))
    return model


def by_function() -> keras.Model:
    model = Penalized(strength=0.0)
    model(np.ones((4, 4), "float32"))
    return sy.penalize(model, "hidden/kernel", entries)


def fitted(case: zoo.Case) -> dict[str, Any]:
    """By `fit`, of a model that calls the wrapper."""
    x = zoo.inputs()
    two = zoo.randomize(zoo.alone(case), seed())
    laws.train(pair.Parallel(two, find_unused_parameters=True), pair.share(x), epochs=2)

    def alone() -> keras.Model:
        one = zoo.randomize(zoo.alone(case), seed=3)
        laws.train(one, x, epochs=2)
        return one

    return {"apart": pair.apart(two), **compared(two, alone)}


def unlisted() -> dict[str, Any]:
    """A plain layer with two weights of one name; the wrapper knows of one."""
    model = parametrized.around(parametrized.KINDS["listed"], parametrized.Listed(name="subject"))
    parametrized.randomize(model, seed())
    wrapper = pair.wrapped(model)
    return {"known": len(list(wrapper.parameters())), "apart": pair.apart(model)}


def rows() -> Iterator[tuple[str, Callable[[], Any]]]:
    for case, way in BORROWED:
        yield f"{case.name}, {way}", functools.partial(borrowed, case, way)
    for row in REWRITTEN:
        yield row.name, functools.partial(rewritten, row)
    for make in (by_layer, by_function):
        yield make.__name__, functools.partial(penalized, make)
    for name in FITTED:
        yield f"{name}, fit", functools.partial(fitted, zoo.BY_NAME[name])
    yield "unlisted", unlisted


if __name__ == "__main__":
    pair.run(rows)
