"""Learning to learn from two pictures of a digit: MAML (Finn, Abbeel and Levine 2017).

A task picks two digits and calls one of them "yes". The network is shown two pictures of each,
takes one step of descent on them, and is asked about other pictures of the same two. MAML trains
the weights from which that step starts, through the step. So it needs what the network says with
weights that are not its variables: `sy.call`. Run it with any backend:

    KERAS_BACKEND=torch python examples/maml.py
"""

import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits

import steelyard as sy

DIGITS = load_digits()
SHOWN, ASKED, STEP, TASKS = 2, 10, 0.2, 6

keras.utils.set_random_seed(0)
MODEL = keras.Sequential([keras.layers.Dense(40, "relu"), keras.layers.Dense(1)])
MODEL.build((None, 64))
VARIABLES = {weight.address: weight.variable for weight in sy.weights(MODEL)}


def loss(weights, x, y):
    logits = sy.call(MODEL, x, weights=weights)  # nothing is assigned: the start stays the start
    return ops.mean(ops.binary_crossentropy(y, logits, from_logits=True))


def slopes_of(function):
    """What gives the gradient of `function` at its first argument, a dictionary of tensors."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.grad(function))
    if keras.backend.backend() == "torch":
        import torch

        def slopes(at, *rest):
            at = {name: t if t.requires_grad else t.requires_grad_() for name, t in at.items()}
            found = torch.autograd.grad(function(at, *rest), list(at.values()), create_graph=True)
            return dict(zip(at, found, strict=True))

        return slopes
    import tensorflow as tf

    @tf.function
    def slopes(at, *rest):
        with tf.GradientTape() as tape:
            tape.watch(at)
            result = function(at, *rest)
        return tape.gradient(result, at)

    return slopes


slopes_of_loss = slopes_of(loss)


def adapted(weights, shown):
    slopes = slopes_of_loss(weights, *shown)
    return {name: value - STEP * slopes[name] for name, value in weights.items()}


def loss_after_a_step(weights, tasks):
    return sum(loss(adapted(weights, shown), *asked) for shown, asked in tasks) / len(tasks)


def task(rng, pictures):
    """Two digits: pictures and answers to be shown, and to be asked about."""
    x, y = DIGITS.data[pictures] / 16, DIGITS.target[pictures]
    rows = [rng.permutation(np.flatnonzero(y == digit)) for digit in rng.choice(10, 2, False)]
    parts = [[row[:SHOWN] for row in rows], [row[SHOWN : SHOWN + ASKED] for row in rows]]
    answers = [np.repeat([[0.0], [1.0]], count, axis=0) for count in (SHOWN, ASKED)]
    return [
        (ops.convert_to_tensor(x[np.concatenate(part)], "float32"), ops.cast(answer, "float32"))
        for part, answer in zip(parts, answers, strict=True)
    ]


def start():
    return {name: ops.copy(ops.stop_gradient(v.value)) for name, v in VARIABLES.items()}


def show(what, tasks):
    right = []
    for shown, (x, y) in tasks:
        logits = sy.call(MODEL, x, weights=adapted(start(), shown))
        right.append(np.mean(ops.convert_to_numpy((logits > 0) == (y > 0.5))))
    print(f"{what}: {np.mean(right):.1%} right after one step on two pictures of each digit")
    return np.mean(right)


def main():
    tests = [task(np.random.default_rng(seed), slice(1200, None)) for seed in range(40)]
    before = show("from a random start", tests)
    optimizer, rng = keras.optimizers.Adam(0.005), np.random.default_rng(0)
    slopes_after_a_step = slopes_of(loss_after_a_step)
    for _ in range(150):
        tasks = [task(rng, slice(1200)) for _ in range(TASKS)]
        slopes = slopes_after_a_step(start(), tasks)
        optimizer.apply(
            [ops.stop_gradient(slopes[name]) for name in VARIABLES], list(VARIABLES.values())
        )
    after = show("from a trained start", tests)
    assert after > before + 0.05


if __name__ == "__main__":
    main()
