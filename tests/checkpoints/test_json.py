import math
import time

import pytest

from steelyard.checkpoints._json import parse_json
from steelyard.errors import CheckpointError, LimitError

pytestmark = pytest.mark.no_keras


def test_json_is_read():
    assert parse_json(b'{"a": [1, -2.5, "\\u00e9[{", true, null]}', "x") == {
        "a": [1, -2.5, "é[{", True, None]
    }


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no right JSON"),
        (b"{", "no right JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b'{"x": {"a": 1, "b": 0, "b": 2}}', "the key 'b' is there twice"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "too large"),
        (b'"\xff"', "no right JSON"),
        (b"[1] [2]", "no right JSON"),
        (b'"' + b'\\"' * 10_000, "no right JSON"),
    ],
)
def test_what_is_no_json_is_refused(data, says):
    with pytest.raises(CheckpointError, match=says) as caught:
        parse_json(data, "file.json")
    assert str(caught.value).startswith("file.json: ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"[" * 70 + b"]" * 70,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"1" * 26,
        b"[" + b"[]," * 4_000_000 + b"1]",
        b'"' + b"a" * (33 << 20) + b'"',
    ],
    ids=["open", "lists", "dicts", "digits", "parts", "bytes"],
)
def test_too_much_is_refused_soon(data):
    began = time.perf_counter()
    with pytest.raises(LimitError):
        parse_json(data, "x")
    assert time.perf_counter() - began < 5


def test_brackets_in_texts_are_no_depth():
    text = "[" * 1000 + '\\"' + "{" * 1000
    assert parse_json(f'["{text}"]'.encode(), "x") == [text.replace("\\", "")]


def test_depth_is_up_to_the_caller():
    assert parse_json(b"[[1]]", "x", most_depth=2) == [[1]]
    with pytest.raises(LimitError, match="more than 1 levels"):
        parse_json(b"[[1]]", "x", most_depth=1)


def test_a_text_is_read_as_its_bytes_are():
    assert parse_json('["é"]', "x") == ["é"]
    with pytest.raises(CheckpointError, match="no right JSON"):
        parse_json('["\ud800"]', "x")


def test_what_python_writes_is_read_where_it_is_asked_for():
    assert parse_json(b"[Infinity, 1e999]", "x", pythons=True) == [math.inf, math.inf]
    (found,) = parse_json(b"[NaN]", "x", pythons=True)
    assert math.isnan(found)
    with pytest.raises(CheckpointError, match="twice"):
        parse_json(b'{"a": 1, "a": NaN}', "x", pythons=True)
