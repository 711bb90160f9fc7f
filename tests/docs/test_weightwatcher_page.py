"""What `docs/weightwatcher.md` says of its columns, held against what it printed."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from tests.metrics.test_golden import COLUMNS, DATA, GOLDEN, NO_SPECTRUM

import steelyard as sy
from steelyard.metrics import chosen, compute

pytestmark = pytest.mark.no_keras

PAGE = Path(__file__).parent.parent.parent / "docs" / "weightwatcher.md"
TEXT = PAGE.read_text(encoding="utf-8")
METRICS = (PAGE.parent / "metrics.md").read_text(encoding="utf-8")
SAME = dict(re.findall(r"^\| `(\w+)` \| \[`(\w+)`\]\(metrics\.md#\2\) \| ", TEXT, re.MULTILINE))
STEP = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \| ", TEXT, re.MULTILINE))
AT = {"log10": math.log10, "sqrt": math.sqrt, "len": len, "sum": sum}


def test_the_same_numbers_are_those_that_are_tested():
    assert SAME == COLUMNS


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in NO_SPECTRUM])
def test_one_step_away(name):
    out = GOLDEN[name]["out"]
    answers = compute(
        np.load(DATA / f"{name}.npy"),
        chosen([*COLUMNS.values(), "sigma_min", "singular_values"]),
        view="pooled",
        compat="weightwatcher",
    )
    ours = {row.name: answer.value for row, answer in answers}
    for column, formula in STEP.items():
        if column == "sv_min" and "conv" in name:
            continue  # theirs is not the least of all
        value = eval(formula, {"__builtins__": {}}, AT | ours)
        if isinstance(value, str):
            assert value == out[column], column
        else:
            assert value == pytest.approx(out[column], rel=1e-9), column


def test_no_column_is_forgotten():
    columns = {column for one in GOLDEN.values() for column in one["out"]}
    assert {column for column in columns if f"`{column}`" not in TEXT} == set()
    assert len(STEP) == 12


def test_every_link_leads_to_a_metric():
    linked = set(re.findall(r"\(metrics\.md#(\w+)\)", TEXT))
    assert linked <= {row.name for row in sy.catalog()}


def test_the_random_ones_are_in_the_catalog():
    names = {row.name for row in sy.catalog() if row.group == "random"}
    assert names <= set(re.findall(r"\(metrics\.md#(\w+)\)", TEXT))


@pytest.mark.parametrize("page", ["metrics", "weightwatcher"])
def test_links_to_files_lead_somewhere(page):
    text = (PAGE.parent / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (PAGE.parent / target).exists(), target


def test_the_metrics_page_links_back():
    assert "(weightwatcher.md)" in METRICS
