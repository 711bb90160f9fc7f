"""Who holds a layer."""

import keras

from steelyard.live import holders, holders_around


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = [keras.layers.Dense(2)]

    def call(self, x):
        return self.dense[0](x)


def test_from_a_layer_up_to_its_models():
    inputs = keras.Input((2,))
    block = Block()
    inner = keras.Model(inputs, block(inputs), name="inner")
    outer_inputs = keras.Input((2,))
    outer = keras.Model(outer_inputs, inner(outer_inputs), name="outer")
    dense = block.dense[0]
    assert holders(dense) == [block]
    around = {id(held) for held in holders_around(dense)}
    assert around == {id(held) for held in (dense, block, inner, outer)}
    assert outer in holders_around(outer)


def test_nobody_holds_it():
    dense = keras.layers.Dense(2)
    assert holders(dense) == []
    assert holders_around(dense) == [dense]
