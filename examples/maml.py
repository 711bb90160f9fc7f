"""Learning to learn from two pictures of a digit: MAML (Finn, Abbeel and Levine 2017) on digits.

A task picks two digits and calls one of them "yes". A network gets two pictures of each, takes one
step of descent on them, and is asked about other pictures of the same two. MAML trains the weights
from which that step starts, so it needs the network's output for weights that are no variables:
`sy.call`. Run it with any backend:

    KERAS_BACKEND=torch python examples/maml.py
"""

import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits

import steelyard as sy

DATA = load_digits()
PICTURES = (DATA.data / 16).astype("float32")
SHOTS, ASKED, STEP, TASKS = 2, 10, 0.5, 8
TRAINED_ON, NEVER_SEEN = range(6), range(6, 10)  # digits


def grad(function, at):
    """The gradient of a scalar function at a dictionary of tensors, itself differentiable."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(at)
    if keras.backend.backend() == "torch":
        import torch

        at = {name: t if t.requires_grad else t.requires_grad_() for name, t in at.items()}
        found = torch.autograd.grad(function(at), list(at.values()), create_graph=True)
        return dict(zip(at, found, strict=True))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        result = function(at)
    return tape.gradient(result, at)


def task(digits, rng):
    """Pictures and answers of two digits: a few to learn from, others to be asked about."""
    rows = [rng.permutation(np.flatnonzero(DATA.target == d)) for d in rng.choice(digits, 2, False)]
    parts = []
    for part in (slice(SHOTS), slice(SHOTS, SHOTS + ASKED)):
        x = np.concatenate([PICTURES[row[part]] for row in rows])
        y = np.repeat([[0.0], [1.0]], len(x) // 2, axis=0).astype("float32")
        parts.append((ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    return parts


def adapted(model, weights, shown):
    """The weights after one step of descent on the pictures that are shown."""
    slopes = grad(lambda given: loss(model, given, shown), weights)
    return {name: value - STEP * slopes[name] for name, value in weights.items()}


def loss(model, weights, pictures):
    x, y = pictures
    logits = sy.call(model, x, weights=weights)  # nothing is assigned: the start stays the start
    return ops.mean(ops.binary_crossentropy(y, logits, from_logits=True))


def accuracy(model, weights, tasks):
    right = []
    for shown, (x, y) in tasks:
        logits = sy.call(model, x, weights=adapted(model, weights, shown))
        right.append(np.mean(ops.convert_to_numpy(ops.equal(logits > 0, y > 0.5))))
    return float(np.mean(right))


def main():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
    )
    optimizer = keras.optimizers.Adam(0.005)
    optimizer.build(model.trainable_variables)
    names = sy.weights(model).addresses
    variables = [sy.weights(model)[name].variable for name in names]
    test = [task(NEVER_SEEN, np.random.default_rng(seed)) for seed in range(50)]

    def start():
        return {name: ops.copy(ops.stop_gradient(v.value)) for name, v in zip(names, variables)}

    before = accuracy(model, start(), test)
    print(f"two digits never seen, two pictures of each, one step: {before:.1%} right")
    rng = np.random.default_rng(0)
    for _ in range(60):
        tasks = [task(TRAINED_ON, rng) for _ in range(TASKS)]

        def asked(weights, tasks=tasks):
            return sum(loss(model, adapted(model, weights, s), q) for s, q in tasks) / TASKS

        slopes = grad(asked, start())  # through the step: second order
        optimizer.apply([ops.stop_gradient(slopes[n]) for n in names], variables)
    after = accuracy(model, start(), test)
    print(f"the same after training for it on the other digits:    {after:.1%} right")
    assert after > before + 0.05


if __name__ == "__main__":
    main()
