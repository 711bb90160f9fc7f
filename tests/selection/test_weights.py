import numpy as np
import pytest

from steelyard.address import Pattern
from steelyard.errors import (
    AddressError,
    AmbiguousAddressError,
    PatternError,
    SourceError,
    UnknownAddressError,
)
from steelyard.records import WeightSpec
from steelyard.selection import Weight, Weights

pytestmark = pytest.mark.no_keras

DENSE = ("keras.layers.Dense", "keras.layers.Layer")


class Dense:
    __module__ = "keras.layers"


class Layer:
    __module__ = "keras.layers"


class Other:
    """Has the name of a class elsewhere."""


Other.__qualname__ = Other.__name__ = "Dense"

SPECS = (
    WeightSpec("encoder/proj/kernel", (3, 4), "float32", True, "Dense", DENSE),
    WeightSpec("encoder/proj/bias", (4,), "float32", True, "Dense", DENSE),
    WeightSpec("encoder/norm/gamma", (4,), "bfloat16", False, "Norm", ("me.Norm", DENSE[1])),
    WeightSpec(
        "decoder/proj/kernel", (4, 3), "int8", False, "Mine", ("me.Mine", *DENSE), ("tied/kernel",)
    ),
    WeightSpec("head/kernel", (3, 2), "float32", True, "Dense"),
)


class Source:
    def __init__(self, specs=SPECS):
        self.listed = specs
        self.asked = []

    def specs(self):
        return self.listed

    def read(self, address):
        self.asked.append(address)
        shape = next(spec.shape for spec in self.listed if spec.address == address)
        return np.ones(shape, "float32")

    def stored(self, address):
        return {address.split("/")[-1]: self.read(address)}


@pytest.fixture
def w():
    return Weights(Source())


def test_a_weight_has_what_its_spec_says(w):
    weight = w["encoder/proj/kernel"]
    assert isinstance(weight, Weight)
    assert weight.address == "encoder/proj/kernel"
    assert (weight.shape, weight.dtype, weight.size, weight.nbytes) == ((3, 4), "float32", 12, 48)
    assert (weight.trainable, weight.layer) == (True, "Dense")
    assert repr(weight) == (
        "Weight('encoder/proj/kernel', shape=(3, 4), dtype='float32', trainable=True, "
        "layer='Dense')"
    )
    assert weight.numpy().shape == (3, 4)
    assert list(weight.stored()) == ["kernel"]


def test_listing_reads_nothing(w):
    repr(w), w.size, w.nbytes, list(w), w.select("**/kernel", trainable=True), w.addresses
    assert w._source.asked == []


def test_a_selection_is_a_collection(w):
    assert len(w) == 5
    assert w.addresses == tuple(spec.address for spec in SPECS)
    assert [weight.address for weight in w] == list(w.addresses)
    assert (w.size, w.nbytes) == (12 + 4 + 4 + 12 + 6, 48 + 16 + 8 + 12 + 24)
    assert "head/kernel" in w
    assert w["head/kernel"] in w
    assert Weights(Source())["head/kernel"] not in w
    assert "head" not in w
    assert 3 not in w
    assert [] not in w


def test_a_shared_weight_answers_to_each_address(w):
    assert w["tied/kernel"].address == "decoder/proj/kernel"
    assert "tied/kernel" in w
    assert w.select("tied/*").addresses == ("decoder/proj/kernel",)
    assert len(w.select("{tied,decoder}/**")) == 1


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({}, (0, 1, 2, 3, 4)),
        ({"pattern": "**/kernel"}, (0, 3, 4)),
        ({"pattern": Pattern("**/kernel")}, (0, 3, 4)),
        ({"pattern": ["**/bias", "head/*"]}, (1, 4)),
        ({"pattern": ("head/*", "encoder/**", "head/kernel")}, (0, 1, 2, 4)),
        ({"layer": "Dense"}, (0, 1, 4)),
        ({"layer": Dense}, (0, 1, 3, 4)),
        ({"layer": Other}, (4,)),  # where only the name is known, the name must do
        ({"layer": Layer}, (0, 1, 2, 3)),
        ({"layer": ("Norm", "Mine")}, (2, 3)),
        ({"trainable": True}, (0, 1, 4)),
        ({"trainable": False}, (2, 3)),
        ({"dtype": "float32"}, (0, 1, 4)),
        ({"dtype": np.float32}, (0, 1, 4)),
        ({"dtype": np.dtype("int8")}, (3,)),
        ({"dtype": ("int8", "bfloat16")}, (2, 3)),
        ({"ndim": 1}, (1, 2)),
        ({"min_size": 12}, (0, 3)),
        ({"min_size": 0}, (0, 1, 2, 3, 4)),
        ({"where": lambda weight: weight.shape[-1] == 4}, (0, 1, 2)),
        ({"where": lambda weight: weight.numpy().sum() > 5}, (0, 3, 4)),
        ({"pattern": "**/kernel", "layer": Dense, "trainable": True, "ndim": 2}, (0, 4)),
    ],
)
def test_select(w, conditions, left):
    assert w.select(**conditions).addresses == tuple(SPECS[i].address for i in left)


def test_selections_narrow_step_by_step(w):
    assert w.select("encoder/**").select("**/kernel").one().address == "encoder/proj/kernel"


def test_where_is_asked_last(w):
    w.select("encoder/**", ndim=1, where=lambda weight: weight.numpy().any())
    assert w._source.asked == ["encoder/proj/bias", "encoder/norm/gamma"]


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        (
            {"pattern": "**/kernl"},
            "No weight matches the pattern '**/kernl'. Did you mean 'head/kernel'",
        ),
        ({"pattern": ["**/kernel", "**/bais"]}, "matches the pattern '**/bais'. Did you mean"),
        (
            {"pattern": "zzz"},
            "'zzz'. There are 'encoder/proj/kernel', 'encoder/proj/bias', "
            "'encoder/norm/gamma' and 2 more.",
        ),
        (
            {"pattern": "**/kernel", "dtype": "float64"},
            "3 weights match '**/kernel', none of them has dtype='float64' "
            "(there: 'float32', 'int8').",
        ),
        (
            {"pattern": "**/kernel", "trainable": True, "ndim": 4},
            "3 weights match '**/kernel', 2 of them with trainable=True, none of them has ndim=4 "
            "(there: 2).",
        ),
        ({"layer": Other, "dtype": "int8"}, "1 of them with layer=Dense, none of them has dtype"),
        ({"pattern": "head/*", "min_size": 99}, "1 weight matches 'head/*', none of them has"),
        ({"where": lambda weight: False}, "none of them has where(weight) true."),
    ],
)
def test_an_empty_selection_is_an_error(w, conditions, says):
    with pytest.raises(UnknownAddressError) as caught:
        w.select(**conditions)
    assert says in str(caught.value)
    if isinstance(conditions.get("pattern", ""), str):
        assert len(w.select(**conditions, missing_ok=True)) == 0


def test_an_empty_selection_that_is_allowed_can_be_used(w):
    empty = w.select("nothing", missing_ok=True)
    assert (len(empty), empty.addresses, empty.size, list(empty)) == (0, (), 0, [])
    assert repr(empty).endswith("0 weights, 0 parameters (0 trainable), 0 bytes")
    assert len(empty.select("**", ndim=2, missing_ok=True)) == 0
    with pytest.raises(UnknownAddressError, match="The selection is empty"):
        empty.select("**")


@pytest.mark.parametrize("pattern", ["", "a//b", 3, [], [3]])
def test_a_wrong_pattern(w, pattern):
    with pytest.raises(PatternError):
        w.select(pattern)


def test_an_instance_is_no_class_of_layers(w):
    with pytest.raises(AddressError, match=r"takes a layer class or the name.*of type Dense"):
        w.select(layer=Dense())


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("encoder/proj/kernle", "Did you mean 'encoder/proj/kernel'"),
        (
            "encoder/proj",
            "'encoder/proj' is no weight, it holds 2 weights: 'encoder/proj/kernel', "
            "'encoder/proj/bias'. For all of them: .select('encoder/proj/**').",
        ),
        (0, "a string such as 'encoder/proj/kernel'. Received: 0 (of type int)"),
        (None, "of type NoneType"),
        ("", "No weight has the address ''"),
    ],
)
def test_an_unknown_address(w, address, says):
    with pytest.raises(UnknownAddressError) as caught:
        w[address]
    assert says in str(caught.value)


def test_a_note_ends_what_is_said_of_a_missing_weight():
    w = Weights(Source(), note="Not built yet: 'tail'.")
    for ask in (lambda: w["tail/kernel"], lambda: w.select("head/**").select("tail/**")):
        with pytest.raises(UnknownAddressError, match=r"Not built yet: 'tail'\.$"):
            ask()
    assert repr(w).endswith("Not built yet: 'tail'.")


def test_one(w):
    assert w.select("head/*").one().address == "head/kernel"
    with pytest.raises(AmbiguousAddressError, match="there are 5:\n  'encoder/proj/kernel'\n"):
        w.one()
    with pytest.raises(UnknownAddressError, match="there is none"):
        w.select("x", missing_ok=True).one()


def test_one_shows_ten_at_most():
    many = Weights(Source([WeightSpec(f"w{i}", (), "float32", True, "L") for i in range(1234)]))
    with pytest.raises(AmbiguousAddressError) as caught:
        many.one()
    assert "there are 1,234:" in str(caught.value)
    assert "'w9'\n  and 1,224 more" in str(caught.value)
    assert "'w10'" not in str(caught.value)


def test_what_cannot_be_edited_says_so(w):
    weight = w["head/kernel"]
    with pytest.raises(SourceError, match="'head/kernel' is a weight of a Source, which can only"):
        weight.assign(np.zeros((3, 2)))
    with pytest.raises(SourceError):
        _ = weight.variable


def test_weights_of_one_source_compare(w):
    assert w["head/kernel"] == w.select("head/*").one()
    assert w["head/kernel"] != w["decoder/proj/kernel"]
    assert w["head/kernel"] != Weights(Source())["head/kernel"]
    assert len({w["head/kernel"], w["head/kernel"]}) == 1
