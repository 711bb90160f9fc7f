"""Fills in `scan.md`, the page of what `steelyard scan` looks for, out of its table of rules.

Between `<!-- made: … -->` and `<!-- end -->` it is made; the rest of the page is written by hand.

python docs/make_scan.py            writes the page
python docs/make_scan.py --check    exits with 1 if the page is stale
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from steelyard.records import SEVERITIES
from steelyard.scanning import RULES

PAGE = Path(__file__).parent / "scan.md"
MADE = re.compile(r"(?<=<!-- made: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

GROUPS = {
    "config": "The configs of a model: `config.json` of a Keras file or folder, the attributes of "
    "a legacy `.h5`, the metadata that Keras 2 put into a SavedModel, and the JSON beside other "
    "weights.",
    "JSON": "The text of any JSON, and names that are shown.",
    "pickle": "PyTorch's files, those of before 1.6 too, bare pickles, and arrays of Python "
    "objects in `.npy` and `.npz`.",
    "HDF5": "Weights of Keras, and legacy `.h5`.",
    "zip": "Keras's and PyTorch's files, and `.npz`.",
    "graph": "A SavedModel, or a graph that was saved by itself.",
    "file": "A file in a folder or an archive.",
    "reading": "What was not read. Nothing is known of it, so the exit status is 2 where nothing "
    "else was found.",
}


def severities() -> str:
    """The table of severities."""
    rows = [f"| `{name}` | {means} |\n" for name, means in SEVERITIES.items()]
    return "| severity | means |\n|---|---|\n" + "".join(rows)


def rules() -> str:
    """All rules, group by group."""
    parts = []
    for group, where in GROUPS.items():
        parts.append(f"\n### {group}\n\n{where}\n\n| code | severity | what | what to do | see |\n")
        parts.append("|---|---|---|---|---|\n")
        for rule in (rule for rule in RULES.values() if rule.group == group):
            see = ", ".join(rule.references)
            cells = (f"`{rule.code}`", rule.severity, rule.what, rule.fix, see)
            parts.append(f"| {' | '.join(cells)} |\n".replace("|  |", "| |"))
    return "".join(parts) + "\n"


BLOCKS: dict[str, Callable[[], str]] = dict(severities=severities, rules=rules)


def made(text: str) -> str:
    """The page, with all that is made put in anew."""
    return MADE.sub(lambda found: f"{found[1]}{found[2]}{BLOCKS[found[1]]()}", text)


def main() -> int:
    """Writes the page, or says whether it is stale."""
    parser = argparse.ArgumentParser(description="Fill in docs/scan.md out of the rules.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if it is stale")
    check = parser.parse_args().check
    before = PAGE.read_text(encoding="utf-8")
    after = made(before)
    if after == before:
        return 0
    if check:
        print(f"{PAGE.name} is stale. Run: python docs/make_scan.py", file=sys.stderr)
        return 1
    PAGE.write_text(after, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
