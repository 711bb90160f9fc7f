"""A live model as a tree, with links where weights are shared."""

import re

import pytest

from steelyard.records import Borrowing, WeightSpec
from steelyard.selection import Weights
from steelyard.selection._tree import html_tree

pytestmark = pytest.mark.no_keras


def spec(address, **others):
    return WeightSpec(address, (2, 3), "float32", True, "Dense", **others)


def places(tree):
    return dict(re.findall(r'<li id="([^"]+)">([^<]+?) <span', tree))


def links(tree):
    return [(places(tree)[to], text) for to, text in re.findall(r'href="#([^"]+)">([^<]+)', tree)]


def test_a_branch_for_each_layer():
    tree = html_tree([spec("a/b/kernel"), spec("a/b/bias"), spec("a/c/kernel")])
    branches = re.findall(r"<summary><b>(\w+)</b><span[^>]*>([^<]*)", tree)
    assert branches == [
        ("a", " 18 parameters"),
        ("b", " Dense 12 parameters"),
        ("c", " Dense 6 parameters"),
    ]
    assert list(places(tree).values()) == ["kernel", "bias", "kernel"]
    assert "3 weights, 18 parameters (18 trainable), 72 bytes" in tree


def test_other_places_of_a_weight_lead_to_it():
    tree = html_tree([spec("a/kernel", aliases=("b/kernel", "c/d/kernel"))])
    assert links(tree) == [("kernel", "a/kernel")] * 2
    assert re.findall(r"<summary><b>(\w+)", tree) == ["a", "b", "c", "d"]


def test_borrowings_lead_to_the_weight():
    borrowed = [
        Borrowing("decoder", "encoder/kernel", True),
        Borrowing("x", "gone/kernel", False, "lost"),
    ]
    tree = html_tree([spec("encoder/kernel")], borrowed)
    assert links(tree) == [("kernel", "encoder/kernel")]
    assert "<i>borrows</i> gone/kernel (not bound: lost)" in tree


def test_many_branches_are_closed():
    assert "<details open>" in html_tree([spec("a/kernel")])
    assert "<details open>" not in html_tree([spec(f"a{i}/kernel") for i in range(31)])


def test_two_trees_in_one_notebook_do_not_share_names():
    assert not places(html_tree([spec("a/k")])).keys() & places(html_tree([spec("a/k")])).keys()


def test_it_is_escaped():
    evil = "<u>\u202e&"
    tree = html_tree(
        [WeightSpec(f"{evil}/{evil}", (1,), evil, True, evil, aliases=(f"x/{evil}",))],
        [Borrowing(evil, evil, False, evil)],
        evil,
    )
    assert "<u>" not in tree and "\u202e" not in tree
    assert tree.count("&lt;u&gt;\\u202e&amp;") > 8


def test_a_source_that_tells_of_links_is_a_tree_unless_it_is_too_large():
    class Live:
        def __init__(self, many):
            self.many = many

        def specs(self):
            return [spec(f"a{i}/kernel") for i in range(self.many)]

        def links(self):
            return [Borrowing("b", "a0/kernel", True)]

        def read(self, address):
            raise AssertionError("was read")

        stored = read

    assert links(Weights(Live(2))._repr_html_()) == [("kernel", "a0/kernel")]
    assert Weights(Live(1001))._repr_html_().startswith("<table")
