import re
import time

import pytest

from steelyard.address import Address, Pattern, nearest
from steelyard.errors import AddressError, PatternError

pytestmark = pytest.mark.no_keras


def test_an_address_is_a_string_with_segments():
    address = Address("encoder/proj/kernel")
    assert address == "encoder/proj/kernel"
    assert hash(address) == hash("encoder/proj/kernel")
    assert address.segments == ("encoder", "proj", "kernel")
    assert {"encoder/proj/kernel": 1}[address] == 1


@pytest.mark.parametrize("text", ["kernel", "a/b/c", "it's", 'say "x"', "μ/σ", "a b", "re:x"])
def test_an_address_prints_as_what_makes_it(text):
    assert eval(repr(Address(text))) == Address(text)
    assert str(Address(text)) == text


@pytest.mark.parametrize("text", ["", "/", "/a", "a/", "a//b", 3, None])
def test_a_malformed_address_is_refused(text):
    with pytest.raises(AddressError, match=re.escape(f"Received: {text!r}")):
        Address(text)


ADDRESSES = (
    "kernel",
    "bias",
    "proj/kernel",
    "proj/bias",
    "encoder/proj/kernel",
    "encoder/proj/kernel_scale",
    "encoder/blocks/0/query/kernel",
    "encoder/blocks/1/query/kernel",
    "encoder/blocks/10/query/bias",
    "decoder/proj/kernel",
)


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("**", ADDRESSES),
        ("**/**", ADDRESSES),
        ("*", ("kernel", "bias")),
        ("*/*", ("proj/kernel", "proj/bias")),
        ("kernel", ("kernel",)),
        ("kern", ()),
        ("Kernel", ()),
        ("proj/*", ("proj/kernel", "proj/bias")),
        ("**/bias", ("bias", "proj/bias", "encoder/blocks/10/query/bias")),
        ("*/**/bias", ("proj/bias", "encoder/blocks/10/query/bias")),
        ("proj/**", ("proj/kernel", "proj/bias")),
        ("proj/kernel/**", ("proj/kernel",)),
        ("**/proj/**/kernel", ("proj/kernel", "encoder/proj/kernel", "decoder/proj/kernel")),
        ("encoder/**/**/query/*", ADDRESSES[6:9]),
        ("encoder/blocks/?/query/kernel", ADDRESSES[6:8]),
        ("encoder/blocks/1*/**", ADDRESSES[7:9]),
        ("*code*/proj/k*l", ("encoder/proj/kernel", "decoder/proj/kernel")),
        ("*c*d*r/*o*/*", ("encoder/proj/kernel", "encoder/proj/kernel_scale", ADDRESSES[9])),
        ("{en,de}coder/proj/kernel", ("encoder/proj/kernel", "decoder/proj/kernel")),
        ("**/proj/kernel{,_scale}", (*ADDRESSES[2:3], *ADDRESSES[4:6], ADDRESSES[9])),
        ("{{en,de}coder/,}proj/kernel", ("proj/kernel", "encoder/proj/kernel", ADDRESSES[9])),
        ("{encoder/**,*}/bias", ("proj/bias", "encoder/blocks/10/query/bias")),
        ("encoder/{blocks/{0,10},proj}/**", (*ADDRESSES[4:7], ADDRESSES[8])),
        ("{kernel}", ("kernel",)),
        ("{*,b}{*l,s}", ("kernel", "bias")),
        ("{pro*,x}{*,y}/bias", ("proj/bias",)),
        ("proj/[bk]*", ()),
        ("proj.kernel", ()),
        ("re:.*/proj/kernel", ("encoder/proj/kernel", "decoder/proj/kernel")),
        ("re:proj", ()),
        (r"re:encoder/blocks/\d/.*", ADDRESSES[6:8]),
        ("re:kernel|bias", ("kernel", "bias")),
        ("re:(?i)KERNEL", ("kernel",)),
    ],
)
def test_pattern(pattern, matched):
    assert [a for a in ADDRESSES if Pattern(pattern).matches(a)] == list(matched)


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (r"a\*b", "a*b"),
        (r"a\?b", "a?b"),
        (r"\{a,b\}", "{a,b}"),
        (r"{a\,b,c}", "a,b"),
        (r"\re:x", "re:x"),
        (r"a\\b", "a\\b"),
        ("a,b", "a,b"),
        ("a.b+(c)$", "a.b+(c)$"),
        ("[ab]", "[ab]"),
        ("a\nb", "a\nb"),
    ],
)
def test_what_is_literal(pattern, literal):
    assert Pattern(pattern).matches(literal)
    assert not Pattern(pattern).matches(literal + "x")
    assert not Pattern(pattern).matches("x" + literal)


@pytest.mark.parametrize("pattern", ["*", "a*", "?", "**/x"])
def test_a_wildcard_stays_within_its_segment(pattern):
    assert not Pattern(pattern).matches("a/b")


def test_a_wildcard_takes_any_character():
    assert Pattern("a*c").matches("a\nc")
    assert Pattern("a?c").matches("a\nc")
    assert Pattern("**/c").matches("a\n/b\r/c")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "The pattern is empty. Write '**'"),
        ("/kernel", "empty segment"),
        ("kernel/", "empty segment"),
        ("a//b", "empty segment"),
        ("/", "empty segment"),
        ("{}", "empty segment"),
        ("{a,}/b", "empty segment"),
        ("x/{a,b", "at character 3: this '{' is never closed. Close it, as in '{kernel,bias}'"),
        ("{a,{b}", "at character 1: this '{' is never closed"),
        ("a}", r"at character 2: no '{' opens this '}'. Write '\}'"),
        ("a\\", "at character 2: nothing follows this backslash"),
        ("enc**/kernel", "'**' is a whole segment. Write '*' for anything within a segment"),
        ("***", "'**' is a whole segment"),
        ("{a,b}**", "'**' is a whole segment"),
        ("re:(", "not a regular expression: missing ), unterminated subpattern at position 0"),
        ("{a,b}" * 11, "more than 1024 combinations"),
        ("{" * 5000, "more than 100 braces"),
        (None, "Received: None (of type NoneType)"),
        (b"**", "of type bytes"),
    ],
)
def test_a_wrong_pattern_fails_when_written(pattern, says):
    with pytest.raises(PatternError) as caught:
        Pattern(pattern)
    assert says in str(caught.value)


def test_a_pattern_is_a_value():
    assert Pattern("**/a") == Pattern("**/a") != Pattern("a")
    assert len({Pattern("a"), Pattern("a")}) == 1
    assert eval(repr(Pattern("{a,b}/*"))) == Pattern("{a,b}/*")


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("**/**/**/x", "a/" * 20_000 + "y"),
        ("/".join(["**/a"] * 20) + "/b", "a/" * 2_000 + "c"),
        ("/".join(["**/*a*/?"] * 10) + "/b", "aaaa/" * 500 + "c"),
        ("*a" * 30 + "b", "a" * 5_000),
        ("**/" + "*a" * 30 + "b", "/".join(["a" * 1_000] * 10)),
        ("{a*,*a,*a*}" * 5 + "b", "a" * 1_000),
    ],
)
def test_a_glob_never_runs_away(pattern, address):
    pattern = Pattern(pattern)
    start = time.perf_counter()
    assert not pattern.matches(address)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("**", ""),
        ("**/kernl", "kernl"),
        ("**/blok*/{0,1}/kernel", "blok/0/kernel"),
        ("re:.*", ""),
        ("*/?/x", "x"),
    ],
)
def test_without_wildcards(pattern, left):
    assert Pattern(pattern).without_wildcards() == left


KNOWN = (
    "embed/embeddings",
    "encoder/blocks/0/query/kernel",
    "encoder/proj/kernel",
    "encoder/proj/bias",
    "decoder/proj/kernel",
    "head/kernel",
)


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("encoder/proj/kernle", "encoder/proj/kernel"),
        ("enc/proj/kernel", "encoder/proj/kernel"),
        ("dec/proj/kernel", "decoder/proj/kernel"),
        ("proj/kernel", "encoder/proj/kernel"),
        ("proj/bias", "encoder/proj/bias"),
        ("encoder/kernel", "encoder/proj/kernel"),
        ("encoder/proj", "encoder/proj/kernel"),
        ("model/encoder/proj/kernel", "encoder/proj/kernel"),
        ("encoder/proj/kernel:0", "encoder/proj/kernel"),
        ("Encoder/Proj/Kernel", "encoder/proj/kernel"),
        ("query/kernel", "encoder/blocks/0/query/kernel"),
        ("encoder/block/0/query/kernel", "encoder/blocks/0/query/kernel"),
        ("embeddings", "embed/embeddings"),
        ("hed/kernel", "head/kernel"),
    ],
)
def test_nearest(asked, first):
    assert nearest(asked, KNOWN)[0] == first


def test_nearest_gives_few_or_none():
    assert len(nearest("kernel", KNOWN)) == 3
    assert len(nearest("kernel", KNOWN, n=2)) == 2
    assert nearest("zzz", KNOWN) == []
    assert nearest("", KNOWN) == []
    assert nearest("kernel", []) == []


def test_nearest_is_quick_among_many():
    many = [f"stage{i}/block_{i}/attention/query_{i}/kernel" for i in range(5000)]
    start = time.perf_counter()
    assert nearest("stage17/block_17/atention/query_17/kernel", many)[0] == many[17]
    assert time.perf_counter() - start < 2
