"""Two sources, weight by weight: what is the same, what is not, and by how much."""

import math
import tracemalloc

import numpy as np
import pytest

import steelyard as sy
from steelyard.compare import differences
from steelyard.records import WeightSpec

pytestmark = pytest.mark.no_keras

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype("float32")
V = RNG.normal(size=(4, 3)).astype("float32")


class Source:
    """Arrays by address; notes in what order they are read."""

    def __init__(self, arrays, log=None, aliases=None, dtypes=None):
        self.arrays = arrays
        self.log = [] if log is None else log
        self.aliases = aliases or {}
        self.dtypes = dtypes or {}

    def specs(self):
        return [
            WeightSpec(
                address,
                np.shape(array),
                self.dtypes.get(address, str(array.dtype)),
                False,
                "Layer",
                aliases=self.aliases.get(address, ()),
            )
            for address, array in self.arrays.items()
        ]

    def read(self, address):
        self.log.append(address)
        return np.array(self.arrays[address])

    def stored(self, address):
        return {address: self.read(address)}


def diff(a, b, *, metrics=(), **told):
    first = a if isinstance(a, Source) else Source(a)
    second = b if isinstance(b, Source) else Source(b)
    return differences(sy.weights(first), sy.weights(second), metrics=metrics, **told)


# --- The same, and changed ------------------------------------------------------------------------


def test_the_same():
    changes = diff({"a": W, "b": V}, {"a": W, "b": V})
    assert [change.kind for change in changes] == ["unchanged", "unchanged"]
    assert changes["a"] == sy.Change(
        "a", "unchanged", "a", "", (4, 3), (4, 3), "float32", "float32", 0.0
    )
    assert changes.identical


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_each_dtype(dtype):
    a = np.abs(RNG.normal(size=50)).round().astype(dtype)
    b = np.roll(a, 1)
    assert diff({"w": a}, {"w": a}).identical
    change = diff({"w": a}, {"w": b})["w"]
    x, y = a.astype("float64"), b.astype("float64")
    assert change.kind == "changed"
    assert change.amount == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-6)
    told = dict(change.numbers)
    assert told["max_abs_difference"] == pytest.approx(np.abs(y - x).max(), rel=1e-6)
    assert told["cosine"] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-6)


def test_by_how_much_it_changed():
    change = diff({"w": W}, {"w": W + np.float32(0.25)})["w"]
    assert change.amount == pytest.approx(0.25 * math.sqrt(12) / np.linalg.norm(W), rel=1e-6)
    assert change.reason.startswith("max abs difference 0.25, cosine 0.")
    assert not diff({"w": W}, {"w": V}).identical


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e36])
@pytest.mark.parametrize("moved", [1e-6, 1e-3, 1.0])
def test_no_number_is_lost_to_its_size(scale, moved):
    a = (RNG.normal(size=300_000) * scale).astype("float32")
    b = (a * (1 + moved * RNG.normal(size=a.size))).astype("float32")
    change = diff({"w": a}, {"w": b})["w"]
    x, y = a / np.float64(scale), b / np.float64(scale)
    assert change.amount == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-5)
    cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert dict(change.numbers)["cosine"] == pytest.approx(cosine, abs=1e-6)


def test_a_small_change_of_one_entry_among_many_is_seen():
    a = np.ones(200_000, "float32")
    b = a.copy()
    b[123_456] = np.nextafter(np.float32(1), np.float32(2))
    change = diff({"w": a}, {"w": b})["w"]
    assert change.kind == "changed"
    assert change.amount == pytest.approx(2**-23 / math.sqrt(200_000), rel=1e-6)


def test_from_zero_it_is_infinitely_far():
    change = diff({"w": np.zeros(3, "float32")}, {"w": np.ones(3, "float32")})["w"]
    assert (change.kind, change.amount) == ("changed", math.inf)
    assert change.numbers == (("max_abs_difference", 1.0),)
    assert "all 0 in the first" in change.reason


def test_numbers_that_are_equal_but_not_bit_for_bit():
    change = diff({"w": np.array([0.0, 1])}, {"w": np.array([-0.0, 1])})["w"]
    assert (change.kind, change.amount) == ("unchanged", 0.0)
    assert change.reason == "equal as numbers, not bit for bit"


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,)])
def test_small_shapes(shape):
    a = np.full(shape, 2, "float32")
    assert diff({"w": a}, {"w": a}).identical
    if a.size:
        assert diff({"w": a}, {"w": a * 2})["w"].amount == 1


def test_fortran_order_is_no_difference():
    assert diff({"w": W}, {"w": np.asfortranarray(W)}).identical


# --- What is not finite ---------------------------------------------------------------------------


def some(*values):
    return np.array([1.0, 2.0, *values], "float32")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_same_places_are_unchanged(value):
    change = diff({"w": some(value)}, {"w": some(value)})["w"]
    assert (change.kind, change.amount) == ("unchanged", 0.0)


def test_nan_with_another_payload_is_nan():
    bits = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000], "uint32").view("float32")
    change = diff({"w": bits}, {"w": bits[::-1]})["w"]
    assert change.kind == "unchanged"


@pytest.mark.parametrize(
    ("first", "second"),
    [(3.0, math.nan), (math.nan, 3.0), (3.0, math.inf), (-math.inf, math.inf)],
)
def test_where_only_one_is_finite_it_is_said(first, second):
    change = diff({"w": some(first)}, {"w": some(second)})["w"]
    assert (change.kind, change.amount) == ("changed", math.inf)
    assert "1 entry that is NaN or infinite in one and not the same in the" in change.reason
    assert dict(change.numbers)["max_abs_difference"] == 0


def test_the_rest_beside_the_same_nan_is_compared():
    a, b = some(math.nan, 2.0), some(math.nan, 5.0)
    change = diff({"w": a}, {"w": b})["w"]
    assert change.amount == pytest.approx(1.0)  # 3 of a norm of 3
    assert "without 1 entry that is NaN or infinite, and the same in both" in change.reason


# --- Shapes and dtypes ----------------------------------------------------------------------------


def test_reshaped():
    change = diff({"w": W}, {"w": W.reshape(2, 6)})["w"]
    assert (change.kind, change.shape, change.source_shape) == ("reshaped", (2, 6), (4, 3))
    assert change.amount == 0
    assert "the same numbers in the same order" in change.reason


def test_reshaped_with_other_numbers():
    change = diff({"w": W}, {"w": V.reshape(2, 6)})["w"]
    assert (change.kind, change.amount) == ("reshaped", None)
    assert change.reason == "shape (2, 6) instead of (4, 3), with other numbers"


def test_reshaped_to_another_size_is_not_read():
    first, second = Source({"w": W}), Source({"w": W[:2]})
    change = diff(first, second)["w"]
    assert (change.kind, change.amount) == ("reshaped", None)
    assert first.log == second.log == []


def test_the_same_values_in_another_dtype():
    narrow = np.float32([1, 2, 3])
    second = Source({"w": narrow}, dtypes={"w": "bfloat16"})
    changes = diff({"w": narrow}, second)
    assert (changes["w"].kind, changes["w"].amount) == ("unchanged", 0.0)
    assert changes["w"].reason == "the same values, stored as bfloat16 instead of float32"
    assert not changes.identical


def test_other_values_in_another_dtype():
    second = Source({"w": W + 1}, dtypes={"w": "float16"})
    change = diff({"w": W}, second)["w"]
    assert change.kind == "changed"
    assert "stored as float16 instead of float32" in change.reason


def test_float64_and_float32():
    wide = np.array([0.1, 0.2])
    change = diff({"w": wide}, {"w": wide.astype("float32")})["w"]
    assert change.kind == "changed"
    assert 0 < change.amount < 1e-7


# --- Only in one, and renamed ---------------------------------------------------------------------


def test_added_and_removed():
    changes = diff({"a": W, "old": V}, {"a": W, "new": V + 1})
    assert changes.added.addresses == ("new",)
    assert changes.removed.addresses == ("old",)
    assert changes["old"] == sy.Change(
        "old", "removed", "old", "", source_shape=(4, 3), source_dtype="float32"
    )
    assert changes["new"] == sy.Change("new", "added", shape=(4, 3), dtype="float32")


def test_renamed():
    changes = diff({"old/kernel": W, "b": V}, {"b": V, "new/kernel": W})
    change = changes["new/kernel"]
    assert (change.kind, change.source, change.amount) == ("renamed", "old/kernel", 0.0)
    assert len(changes) == 2
    assert not changes.identical


def test_renamed_into_another_dtype():
    second = Source({"new": W}, dtypes={"new": "bfloat16"})
    change = diff({"old": W}, second)["new"]
    assert change.kind == "renamed"
    assert "stored as bfloat16 instead of float32" in change.reason


@pytest.mark.parametrize("value", [0, 1, 0.5, math.nan])
def test_a_constant_is_no_evidence(value):
    a = np.full((3, 3), value, "float32")
    changes = diff({"old": a}, {"new": a})
    assert [change.kind for change in changes] == ["added", "removed"]


def test_another_shape_is_no_rename():
    assert not diff({"old": W}, {"new": W.reshape(12)}).renamed


def test_what_is_ambiguous_is_no_rename():
    changes = diff({"a": W, "b": W}, {"c": W})
    assert not changes.renamed
    said = "; several have them, so nothing is said to be renamed"
    assert changes["c"].reason == f"has the values of 'a' and 'b'{said}"
    assert changes["a"].reason == changes["b"].reason == f"has the values of 'c'{said}"


def test_only_what_may_be_renamed_is_read():
    first, second = Source({"a": W, "x": V, "big": np.ones(9)}), Source({"a": W, "y": V})
    assert diff(first, second).renamed.addresses == ("y",)
    assert (first.log, second.log) == (["a", "x"], ["a", "y"])


# --- Shared weights -------------------------------------------------------------------------------


def test_an_alias_is_an_address():
    first = Source({"a": W}, aliases={"a": ("b",)})
    second = Source({"b": W}, aliases={"b": ("a",)})
    assert diff(first, second).identical
    assert diff(first, {"b": W})["b"].source == "b"


def test_untied():
    first = Source({"a": W}, aliases={"a": ("b",)})
    changes = diff(first, {"a": W, "b": V})
    assert [(change.address, change.kind) for change in changes] == [
        ("a", "unchanged"),
        ("b", "changed"),
    ]


def test_tied():
    second = Source({"a": W}, aliases={"a": ("b",)})
    changes = diff({"a": W, "b": V}, second)
    assert [(change.address, change.source, change.kind) for change in changes] == [
        ("a", "a", "unchanged"),
        ("b", "b", "changed"),
    ]


# --- How it is read -------------------------------------------------------------------------------


def test_in_lockstep():
    log = []
    arrays = {f"w{i}": W + i for i in range(4)}
    backwards = dict(reversed(arrays.items()))
    diff(Source(arrays, log), Source(backwards, log))
    assert log == [f"w{i}" for i in (3, 3, 2, 2, 1, 1, 0, 0)]


def test_one_pair_in_memory_at_a_time():
    class Made(Source):
        def read(self, address):
            return np.full(250_000, int(address[1:]), "float32")

    arrays = {f"w{i}": np.broadcast_to(np.float32(i), 250_000) for i in range(1, 20)}
    first, second = Made(arrays), Made(arrays)
    tracemalloc.start()
    diff(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 1_000_000 + 500_000


def test_what_cannot_be_read_is_said_and_the_others_go_on():
    class Broken(Source):
        def read(self, address):
            if address == "a":
                raise OSError("cut off")
            return super().read(address)

    changes = diff({"a": W, "b": V}, Broken({"a": W, "b": V}))
    assert (changes["a"].kind, changes["b"].kind) == ("failed", "unchanged")
    assert changes["a"].reason == "could not be compared: OSError: cut off"
    assert not changes.identical
    only = diff({"a": W, "x": W}, Broken({"a": W, "y": V}))
    assert only.added.addresses == ("y",)


def test_a_candidate_for_a_rename_that_cannot_be_read_is_said():
    class Broken(Source):
        def read(self, address):
            raise OSError("cut off")

    changes = diff({"x": W}, Broken({"y": W}))
    assert changes["y"].kind == "added"
    assert (
        "could not be read to see whether it was renamed: OSError: cut off" in changes["y"].reason
    )


def test_progress_is_told():
    seen = []
    diff({"a": W, "b": V}, {"a": W, "c": V}, progress=lambda *told: seen.append(told))
    assert seen[-1] == (3, 3)


# --- Other metrics --------------------------------------------------------------------------------


def test_more_numbers():
    change = diff({"w": W}, {"w": V}, metrics=("subspace_angle", "cosine"))["w"]
    angle = sy.metrics.subspace_angle(W, V)
    assert [name for name, _ in change.numbers] == [
        "max_abs_difference",
        "cosine",
        "subspace_angle",
    ]
    assert dict(change.numbers)["subspace_angle"] == pytest.approx(angle)
    assert f"subspace angle {angle:.3g}" in change.reason


def test_a_metric_that_has_no_value_here():
    change = diff({"w": W[0]}, {"w": V[0]}, metrics=("subspace_angle",))["w"]
    assert "subspace_angle" not in dict(change.numbers)
    assert "no subspace angle here" in change.reason


@pytest.mark.parametrize("name", ["l2_norm", "cosin", "comparison"])
def test_an_unknown_metric(name):
    with pytest.raises(sy.errors.UnknownMetricError, match=r"no metric of two weights.*cosine"):
        diff({"w": W}, {"w": V}, metrics=name)


# --- Which weights --------------------------------------------------------------------------------


def test_select():
    changes = diff({"a/k": W, "b/k": V}, {"a/k": W, "c/k": W + 1}, select="{a,c}/*")
    assert changes.addresses == ("a/k", "c/k")
    assert diff({"a/k": W, "b/k": V}, {"a/k": W}, select=["a/k", "b/k"]).removed.addresses == (
        "b/k",
    )


def test_select_reads_nothing_else():
    first, second = Source({"a": W, "b": V, "x": V}), Source({"a": W, "b": V, "y": W[:2]})
    diff(first, second, select="a")
    assert (first.log, second.log) == (["a"], ["a"])


def test_what_was_selected_is_found_under_its_new_name():
    changes = diff({"old/k": W, "old/l": V}, {"new/k": W, "new/l": V}, select="old/k")
    assert changes.addresses == ("new/k",)
    assert changes.renamed[0].source == "old/k"


def test_a_pattern_that_matches_nothing():
    with pytest.raises(sy.errors.UnknownAddressError, match="Did you mean 'kernel'"):
        diff({"kernel": W}, {"other": V}, select="kernle")


def test_no_weights_at_all():
    assert diff({}, {}).identical
    assert diff({}, {"a": W}).added.addresses == ("a",)
