import pytest

from steelyard.errors import SteelyardError, UnknownAddressError
from steelyard.records import CHANGE_KINDS, Change
from steelyard.selection import Changes

pytestmark = pytest.mark.no_keras

SOME = (
    Change("a/kernel", "copied", "old/kernel", "", (2, 3), (2, 3), "float32", "float32"),
    Change("a/bias", "copied", "a/bias", "cast from float32 to float16", (3,), (3,)),
    Change("head/kernel", "skipped", "head/kernel", "shape (3, 4) does not fit (3, 5)", (3, 5)),
    Change("b/kernel", "missing", reason="the source has no weight for it", shape=(9,)),
    Change("c/kernel", "unused", "c/kernel", "the target has no such weight", None, (7,)),
)


@pytest.fixture
def changes():
    return Changes(SOME)


def test_a_sequence_that_never_changes(changes):
    assert len(changes) == 5
    assert list(changes) == list(SOME)
    assert changes[0] is SOME[0]
    assert changes[-1] is SOME[-1]
    assert changes[1:3] == Changes(SOME[1:3])
    assert changes.addresses[2] == "head/kernel"
    assert changes == Changes(SOME)
    assert hash(changes) == hash(Changes(SOME))
    assert changes and not Changes()
    with pytest.raises((AttributeError, TypeError)):
        changes.more = 1


def test_by_address(changes):
    assert changes["head/kernel"] is SOME[2]
    assert "head/kernel" in changes
    assert "head/kernle" not in changes
    with pytest.raises(UnknownAddressError, match="Did you mean 'head/kernel'"):
        changes["head/kernle"]


@pytest.mark.parametrize("kind", CHANGE_KINDS)
def test_each_kind_has_its_name(changes, kind):
    assert getattr(changes, kind) == changes.of(kind)
    assert list(changes.of(kind)) == [change for change in SOME if change.kind == kind]


def test_an_unknown_kind_is_refused(changes):
    with pytest.raises(SteelyardError, match=r"no kind 'copy' of change.*'copied'"):
        changes.of("copy")
    with pytest.raises(SteelyardError, match="Received: 'copy'"):
        Change("a", "copy")


def test_the_table_shows_first_what_needs_a_look(changes):
    assert repr(changes) == "\n".join(
        [
            "2 copied, 1 skipped, 1 missing in the source, 1 unused of the source",
            "kind     address      shape   from        why",
            "──────────────────────────────────────────────────────────────────────────",
            "skipped  head/kernel  (3, 5)              shape (3, 4) does not fit (3, 5)",
            "missing  b/kernel     (9,)                the source has no weight for it",
            "unused   c/kernel     (7,)                the target has no such weight",
            "copied   a/kernel     (2, 3)  old/kernel",
            "copied   a/bias       (3,)                cast from float32 to float16",
        ]
    )
    assert repr(Changes()) == "no weights"


def test_a_long_table_is_cut_kind_by_kind():
    many = [Change(f"w{i}", "copied", f"w{i}") for i in range(1000)]
    table = repr(Changes([*many, *SOME], note="In the target: ."))
    assert "… 992 more copied …" in table
    assert "skipped  head/kernel" in table
    assert table.endswith("\nIn the target: .")
    assert len(table.splitlines()) < 25


def test_a_difference_says_by_how_much():
    assert "by 0.125; it drifts" in repr(
        Changes([Change("w", "changed", "w", "it drifts", amount=0.125)])
    )


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (Change("w", "unchanged", "w", "", (2,), (2,), "int8", "int8"), True),
        (Change("w", "unchanged", "w", "", (2,), (2,), "int8", "float32"), False),
        (Change("w", "unchanged", "v", "", (2,), (2,), "int8", "int8"), False),
        *((Change("w", kind, "w"), False) for kind in CHANGE_KINDS if kind != "unchanged"),
    ],
)
def test_identical(change, same):
    assert Changes([change]).identical is same
    assert Changes().identical


def test_what_could_not_be_read_stands_first():
    assert "1 failed" in repr(Changes([Change("w", "failed", "w", "could not be compared")]))


def test_html_is_escaped(changes):
    table = Changes([Change("<b>", "copied", "a&b")], note="<i>")._repr_html_()
    assert "&lt;b&gt;" in table and "a&amp;b" in table and "&lt;i&gt;" in table
    assert "<b>" not in table
    assert "1 missing in the source" in changes._repr_html_()


def test_a_change_reads_as_a_sentence():
    assert str(SOME[0]) == "copied a/kernel (from old/kernel)"
    assert str(SOME[2]) == "skipped head/kernel: shape (3, 4) does not fit (3, 5)"
    assert eval(repr(SOME[0])) == SOME[0]
