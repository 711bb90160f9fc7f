import keras
import pytest
from keras import layers

from steelyard.live._walk import children, own_weights, walk


def paths(root):
    return ["/".join(place.path) for place in walk(root)]


def names(layer):
    return [name for name, _ in own_weights(layer)]


class Held(layers.Layer):
    """Sublayers in every kind of place."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(2)
        self.blocks = [layers.Dense(2), layers.Dense(2)]
        self.pairs = [(layers.Dense(2), layers.Dense(2))]
        self.named = {"query": layers.Dense(2), "a/b": layers.Dense(2), 3: layers.Dense(2)}
        self._hidden = layers.Dense(2)
        self._chosen = layers.Dense(2, name="chosen_name")


class Weighted(layers.Layer):
    """Variables with and without names, alone and in containers."""

    def build(self, shape=None):
        self.alpha = self.add_weight(shape=())
        self.scales = [self.add_weight(shape=(1,)), self.add_weight(shape=(2,))]
        self.table = {"x": self.add_weight(shape=(3,))}
        self.own_name = self.add_weight(shape=(1,), name="gain")
        self.left = self.add_weight(shape=(1,), name="same")
        self._right = self.add_weight(shape=(1,), name="same", trainable=False)
        self.add_weight(shape=(1,), name="lost")
        self.add_weight(shape=(1,), name="lost")
        self.add_weight(shape=(1,))
        self.add_weight(shape=(1,))


class Twice(layers.Layer):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        self.a = self.b = layers.Dense(2)


class Deep(layers.Layer):
    """One layer at two depths."""

    def __init__(self):
        super().__init__()
        self.outer = Twice()
        self.direct = self.outer.a


class Parent(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([layers.Dense(2, name="proj")], name="ignored")
        self.decoder = Held()


def test_attributes_and_containers_name_the_way():
    assert paths(Held()) == [
        "",
        "first",
        "blocks/0",
        "blocks/1",
        "pairs/0/0",
        "pairs/0/1",
        "named/query",
        "named/a%2Fb",
        "named/3",
        "hidden",
        "chosen_name",
    ]


def test_a_graph_goes_by_names_and_a_class_by_attributes():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(2, name="d")(inputs))
    model.attribute = model.layers[1]
    assert paths(model) == ["", model.layers[0].name, "d"]
    assert paths(Parent())[:4] == ["", "encoder", "encoder/proj", "decoder"]


def test_a_name_that_somebody_chose_comes_before_an_attribute_of_keras():
    attention = layers.MultiHeadAttention(2, 4)
    attention.build((None, 3, 8), (None, 3, 8))
    assert {"query", "key", "value", "attention_output"} <= set(paths(attention))


def test_weights_go_by_their_names_or_where_they_are_held():
    layer = Weighted()
    layer.build()
    assert sorted(names(layer)) == [
        "alpha",
        "gain",
        "left",
        "lost",
        "lost~2",
        "right",
        "scales/0",
        "scales/1",
        "table/x",
        "variable",
        "variable~2",
    ]


def test_a_shared_layer_is_listed_once_at_its_shortest_path():
    places = {place.path: place for place in walk(Deep())}
    assert set(places) == {(), ("outer",), ("direct",)}
    assert set(places["direct",].aliases) == {("outer", "a"), ("outer", "b")}


def test_a_way_of_keras_own_is_no_alias():
    attention = layers.MultiHeadAttention(2, 4)
    attention.build((None, 3, 8), (None, 3, 8))
    assert [place.path for place in walk(attention) if place.aliases] == []


def test_the_shortest_public_way_comes_first():
    parent = layers.Layer()
    parent._hidden = layers.Dense(2)
    parent.many = [parent._hidden]
    parent.one = parent._hidden
    assert paths(parent) == ["", "one"]
    assert walk(parent)[1].aliases == (("many/0",),)


def test_repeated_segments_are_told_apart():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d")])
    model.extra = layers.Dense(2, name="d")
    assert len({segment for segment, _ in children(model)}) == len(children(model)) == 2


@pytest.mark.parametrize("layer", [layers.Dense(2), layers.Dropout(0.5)])
def test_a_leaf_is_all_there_is(layer):
    assert [place.layer for place in walk(layer)] == [layer]
    assert children(layer) == []


def test_a_layer_that_holds_its_holder_ends_no_walk():
    parent, child = layers.Layer(), layers.Layer()
    parent.child = child
    child.parent = parent
    assert paths(parent) == ["", "child"]


@pytest.mark.parametrize("others_before", [0, 3])
def test_a_layer_that_no_attribute_holds_any_more_goes_by_its_class(others_before):
    for _ in range(others_before):
        layers.Dense(2)
    parent = layers.Layer()
    for _ in range(3):
        parent.now = layers.Dense(2)  # Keras goes on tracking those before
    assert paths(parent) == ["", "dense", "dense~2", "now"]
