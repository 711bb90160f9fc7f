import pytest

from steelyard.records import WeightSpec
from steelyard.selection._table import html_table, plain, text_table

pytestmark = pytest.mark.no_keras

SPECS = [
    WeightSpec("proj/kernel", (300, 40), "float32", True, "Dense"),
    WeightSpec("proj/bias", (40,), "bfloat16", False, "Dense"),
]


def many(number):
    return [WeightSpec(f"w{i}", (2,), "int8", False, "L") for i in range(number)]


def test_the_table_lines_up():
    assert text_table(SPECS) == "\n".join(
        [
            "address      shape      dtype       size  trainable  layer",
            "──────────────────────────────────────────────────────────",
            "proj/kernel  (300, 40)  float32   12,000  yes        Dense",
            "proj/bias    (40,)      bfloat16      40  no         Dense",
            "2 weights, 12,040 parameters (12,000 trainable), 47.0 KiB",
        ]
    )


def test_a_long_table_is_cut_in_the_middle():
    lines = text_table(many(1040)).splitlines()
    assert len(lines) == 2 + 41 + 1
    assert lines[2 + 20] == "… 1,000 more …"
    assert lines[2 + 19].startswith("w19 ")
    assert lines[2 + 21].startswith("w1020 ")
    assert lines[-1] == "1,040 weights, 2,080 parameters (0 trainable), 2.0 KiB"
    assert len(text_table(many(40)).splitlines()) == 2 + 40 + 1
    assert "… 1,000 more …" in html_table(many(1040))


@pytest.mark.parametrize(
    ("number", "says"),
    [(1, "2 bytes"), (512, "1.0 KiB"), (2**19, "1.0 MiB"), (3 * 2**28, "1.5 GiB")],
)
def test_bytes_are_easy_to_read(number, says):
    spec = WeightSpec("w", (2, number), "int8", False, "L")
    assert text_table([spec]).endswith(says)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb", r"a\nb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2066b", r"a\u2066b"),
        ("a\u200bb", r"a\u200bb"),
        ("größe μ", "größe μ"),
    ],
)
def test_a_name_cannot_rearrange_its_line(name, shown):
    assert plain(name) == shown
    spec = WeightSpec(name, (1,), "float32", True, name)
    for table in (text_table([spec], note=name), html_table([spec], note=name)):
        assert table.count(shown) == 3
    assert len(text_table([spec]).split("\n")) == 4


def test_html_is_escaped():
    spec = WeightSpec("<script>alert('x')</script>", (1,), "float32", True, "a&b")
    table = html_table([spec], note="<b>")
    assert "<script>" not in table
    assert "<b>" not in table
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in table
    assert "a&amp;b" in table


def test_an_empty_table_has_a_head_and_a_total():
    assert text_table([]).splitlines()[0].startswith("address")
    assert "0 weights" in html_table([])
