"""`docs/cli.md` has a section for each verb, with an example and every key of its JSON."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from steelyard.cli import _VERBS, main

pytestmark = pytest.mark.no_keras

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
JSON = {
    "list": (["m"], "weights"),
    "measure": (["m"], "readings"),
    "diff": (["m", "n"], "changes"),
    "convert": (["m", "out.npz"], ""),
    "scan": (["m.pkl"], "risks"),
    "metrics": ([], "metrics"),
}


def test_each_verb_has_its_section():
    assert list(SECTIONS) == list(_VERBS)


@pytest.mark.parametrize("verb", _VERBS)
def test_it_has_an_example(verb):
    assert f"```\nsteelyard {verb}" in SECTIONS[verb]


@pytest.mark.parametrize("verb", _VERBS)
def test_its_examples_have_options_that_exist(verb):
    known = {name for option in main.get_command(None, verb).params for name in option.opts}
    assert set(re.findall(r"(?<![-\w])--[a-z]+(?:-[a-z]+)*", SECTIONS[verb])) <= known | {"--help"}


@pytest.mark.parametrize("verb", JSON)
def test_each_key_is_explained(verb, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(print))
    files["m"] = {"w": np.ones((2, 2))}
    files["n"] = {"w": np.zeros((2, 2))}
    files["out.npz"] = files["m"]  # which is what `convert` writes
    arguments, many = JSON[verb]
    result = CliRunner().invoke(main, [verb, *arguments, "--json"])
    told = json.loads(result.stdout)
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", SECTIONS[verb], re.MULTILINE)
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert explained == {*told, *(told[many][0] if many else ())} - {"steelyard", "schema"}


def test_every_verb_with_json_is_here():
    has = [v for v in _VERBS if "as_json" in {o.name for o in main.get_command(None, v).params}]
    assert has == list(JSON)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE):
        name, _, heading = target.partition("#")
        text = (DOCS / name).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not heading or heading in [h.lower().replace(" ", "-") for h in headings], target
