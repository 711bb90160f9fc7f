import pytest

from steelyard.address import Pattern
from steelyard.errors import AddressError, PatternError, UnknownAddressError
from steelyard.selection import renamed

pytestmark = pytest.mark.no_keras

ADDRESSES = ("encoder/0/kernel", "encoder/0/bias", "encoder/1/kernel", "encoders/kernel", "alpha")


@pytest.mark.parametrize(
    ("rename", "becomes"),
    [
        (None, ADDRESSES),
        ({}, ADDRESSES),
        (
            {"encoder": "net/backbone"},
            (
                "net/backbone/0/kernel",
                "net/backbone/0/bias",
                "net/backbone/1/kernel",
                *ADDRESSES[3:],
            ),
        ),
        ({"encoder/": "e/"}, ("e/0/kernel", "e/0/bias", "e/1/kernel", *ADDRESSES[3:])),
        ({"": "all"}, tuple(f"all/{a}" for a in ADDRESSES)),
        ({"encoder": ""}, ("0/kernel", "0/bias", "1/kernel", *ADDRESSES[3:])),
        ({"alpha": "beta"}, (*ADDRESSES[:4], "beta")),
        (
            {"": "all", "encoder": None, "encoder/0": "first"},
            ("first/kernel", "first/bias", None, "all/encoders/kernel", "all/alpha"),
        ),
        (
            [("encoder", "x"), ("encoder/0", "y")],  # the first that fits
            ("x/0/kernel", "x/0/bias", "x/1/kernel", *ADDRESSES[3:]),
        ),
        (
            {"encoder/0": "encoder/1", "encoder/1": "encoder/0"},  # each is renamed once
            ("encoder/1/kernel", "encoder/1/bias", "encoder/0/kernel", *ADDRESSES[3:]),
        ),
        (
            {r"re:encoder/(\d+)/(?P<name>.*)": r"blocks/\1/proj/\g<name>"},
            ("blocks/0/proj/kernel", "blocks/0/proj/bias", "blocks/1/proj/kernel", *ADDRESSES[3:]),
        ),
        ([("**/bias", None)], (ADDRESSES[0], None, *ADDRESSES[2:])),
        ([(Pattern("*/{0,1}/*"), None)], (None, None, None, *ADDRESSES[3:])),
        (
            lambda a: a.replace("encoder", "e") if a != "alpha" else None,
            ("e/0/kernel", "e/0/bias", "e/1/kernel", "es/kernel", None),
        ),
    ],
)
def test_what_an_address_becomes(rename, becomes):
    assert tuple(renamed(ADDRESSES, rename).values()) == becomes


@pytest.mark.parametrize(
    ("rename", "error", "says"),
    [
        ({"enocder": "x"}, UnknownAddressError, "'enocder', which fits no weight.*'encoder/"),
        ({"enc": "x"}, UnknownAddressError, "'enc', which fits no weight"),
        ({"re:(": "x"}, PatternError, "not a regular expression"),
        ({r"re:(.*)/kernel": r"\2"}, PatternError, r"cannot be read.*\\1, \\2"),
        ({"**/bias": "b"}, PatternError, "What a wildcard stands for has no place"),
        ({"alpha": ""}, AddressError, "makes '' of 'alpha'"),
        ({"alpha": 3}, PatternError, r"Received: \{'alpha': 3\}"),
        ("encoder", PatternError, "Received: 'encoder'"),
        (["encoder"], PatternError, "Received: .'encoder'."),
        (5, PatternError, "Received: 5"),
        (lambda a: 3, AddressError, "makes 3 of 'encoder/0/kernel'"),
        (lambda a: a + "/", AddressError, "joined by single slashes"),
    ],
)
def test_what_cannot_be_meant_is_refused(rename, error, says):
    with pytest.raises(error, match=says):
        renamed(ADDRESSES, rename)
