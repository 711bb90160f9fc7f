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


def seed() -> int:
    return 3 + distributed.get_rank()


def borrowed(case: zoo.Case, way: str) -> dict[str, Any]:
    place, options = WAYS[way]
    x = zoo.inputs()
    one = zoo.randomize(zoo.PLACES[place](case), seed=3)
    two = zoo.randomize(zoo.PLACES[place](case), seed=seed())
    wanted = [np.zeros(tuple(y.shape), "float32") for y in keras.tree.flatten(one(x))]
    one.compile(keras.optimizers.SGD(0.1), ["mse"] * len(wanted))
    fitting = dict(batch_size=len(x), epochs=2, shuffle=False, verbose=0)
    one.fit(x, wanted if len(wanted) > 1 else wanted[0], **fitting)
    wrapper = pair.wrapped(two, **options)
    was = zoo.values(case, two)
    pair.train(wrapper, x, wanted, 0.1, steps=2)
    now = zoo.values(case, two)
    return {
        "moved": min(float(np.abs(a - b).max()) for a, b in zip(now, was, strict=True)),
        "apart": pair.apart(two),
        "output": zoo.output(two, x).tolist(),
        "should be": zoo.should_be(case, two, x).tolist(),
        "values": [weight.tolist() for weight in two.get_weights()],
        "of one": [weight.tolist() for weight in one.get_weights()],
        "listed": listed(two, wrapper),
    }


def listed(model: keras.Model, wrapper: Any) -> bool:
    """Whether torch knows of the very weights that the model has, of each once."""
    known = [id(parameter) for parameter in wrapper.parameters()]
    return len(set(known)) == len(known) and set(known) == {id(v.value) for v in model.variables}


def rewritten(case: parametrized.Case) -> dict[str, Any]:
    x, y = parametrized.inputs(case.kind), parametrized.targets(case)
    one, two = parametrized.after(case), parametrized.plain(case)
    parametrized.randomize(two, seed())
    sy.parametrize(two.get_layer("subject"), case.kind.weight, case.way.make())
    parametrized.fit(case, one, epochs=2)
    wrapper = pair.wrapped(two)
    was = parametrized.stored(case, two)
    pair.train(wrapper, x, [y], 0.05, steps=2)
    now = parametrized.stored(case, two)
    return {
        "moved": float(np.abs(now[0] - was[0]).max()),
        "apart": pair.apart(two),
        "output": parametrized.output(two, x).tolist(),
        "should be": parametrized.should_be(case, two, x).tolist(),
        "stored": [array.tolist() for array in now],
        "of one": [array.tolist() for array in parametrized.stored(case, one)],
        "listed": listed(two, wrapper),
    }


def penalized(make: Callable[[], keras.Model]) -> dict[str, Any]:
    """A loss of nothing but the penalty: its slope is 1, however many processes count it."""
    x = np.ones((4, 4), "float32")
    model = make()
    zoo.randomize(model, seed())
    wrapper = pair.wrapped(model, find_unused_parameters=True)
    was = keras.ops.convert_to_numpy(model.hidden.kernel).tolist()
    zero = model.head(model.hidden(x)).detach().cpu().numpy()
    model.head.kernel.assign(keras.ops.zeros(model.head.kernel.shape))
    pair.train(wrapper, x, [np.zeros_like(zero)], 0.1)
    now = keras.ops.convert_to_numpy(model.hidden.kernel).tolist()
    return {"was": was, "now": now, "apart": pair.apart(model)}


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
    one = zoo.randomize(zoo.alone(case), seed=3)
    two = zoo.randomize(zoo.alone(case), seed=seed())
    laws.train(one, x, epochs=2)
    parallel = pair.Parallel(two, find_unused_parameters=True)
    laws.train(parallel, pair.share(x), epochs=2)
    return {
        "apart": pair.apart(two),
        "values": [weight.tolist() for weight in two.get_weights()],
        "of one": [weight.tolist() for weight in one.get_weights()],
    }


def rows() -> Iterator[tuple[str, Callable[[], Any]]]:
    for case in zoo.CASES:
        for way in WAYS:
            yield f"{case.name}, {way}", functools.partial(borrowed, case, way)
    for row in parametrized.CASES:
        yield row.name, functools.partial(rewritten, row)
    for make in (by_layer, by_function):
        yield make.__name__, functools.partial(penalized, make)
    for name in ("tied", "tie", "two owners"):
        yield f"{name}, fit", functools.partial(fitted, zoo.BY_NAME[name])


if __name__ == "__main__":
    pair.run(rows)
