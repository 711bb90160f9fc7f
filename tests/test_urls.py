"""What is a URL, what is shown of it, and what lies beside it."""

from pathlib import Path

import pytest

from steelyard.errors import SteelyardError
from steelyard.urls import beside, is_url, name_of, on_disk, shown

pytestmark = pytest.mark.no_keras


def test_what_is_a_url():
    for url in ("https://a.b/c", "s3://a/b", "memory://a", "gs://a/b", "HTTP://a/b"):
        assert is_url(url)
    for path in (
        "a/b",
        "/a",
        "C:/a",
        "a:b",
        Path("/a").as_uri(),
        Path("http://a"),
        "://a",
        None,
        3,
    ):
        assert not is_url(path)


def test_a_file_url_is_a_path():
    assert on_disk(Path("/a b/c").as_uri()) == on_disk("file://localhost/a%20b/c") == "/a b/c"
    assert on_disk("a%20b") == "a%20b" and on_disk(Path("a")) == "a"
    with pytest.raises(SteelyardError, match="of this machine"):
        on_disk("file://server/a")


@pytest.mark.parametrize(
    "url, told",
    [
        ("https://me:pass@a.b:8/c@d/e?key=1#f", "https://***@a.b:8/c@d/e?***"),
        ("https://a.b/c", "https://a.b/c"),
        ("ftp://me@a.b/c", "ftp://***@a.b/c"),
        ("s3://bucket/c", "s3://bucket/c"),
        ("a/b?c", "a/b?c"),
    ],
)
def test_what_is_shown_is_not_secret(url, told):
    assert shown(url) == told


def test_names():
    for path in ("https://a/b/c.npz?x=/y", "s3://a/c.npz", "c.npz"):
        assert name_of(path) == "c.npz"
    assert beside("https://a/b/c?x=/y#z", "d #?%") == "https://a/b/d%20%23%3F%25?x=/y"
    assert beside("s3://a/b/c", "d %") == "s3://a/b/d %"
    assert beside("a/b", "c") == "a/c" and beside("b", "c") == "c"
    for name in ("", ".", "..", "a/b", "../a", "a\\b", "http://c/d", "a\0"):
        with pytest.raises(SteelyardError, match="no name of a file beside it"):
            beside("https://a/b", name)
