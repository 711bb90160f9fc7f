"""Fills in `metrics.md`, the page of the catalog, out of its rows.

Between `<!-- made: … -->` and `<!-- end -->` it is made; the rest of the page is written by hand.

python docs/make_metrics.py            writes the page
python docs/make_metrics.py --check    exits with 1 if the page is stale
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import steelyard as sy
from steelyard.records import STATUSES, Metric

PAGE = Path(__file__).parent / "metrics.md"
MADE = re.compile(r"(?<=<!-- made: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

GROUPS = {
    "health": "What tells first that something is wrong. The shares and counts of entries have a "
    "value where entries are NaN or infinite, too.",
    "values": "Statistics of the entries.",
    "norms": "Norms of the entries, and of the output units.",
    "spectral": "Norms, ranks and conditions out of the singular values.",
    "powerlaw": "How heavy the tail of the λ is, how sure that is, and which other tail would fit.",
    "bulk": "The part of the spectrum that a random matrix would have, and what stands out of it.",
    "random": "The spectrum after the entries have changed places at random, always by the same "
    "seed.",
    "comparison": "Two weights of one shape: functions of `sy.metrics`, which take both. "
    "`sy.measure` takes one weight at a time, and says `not applicable`.",
    "training": "What only training has: the weight before, at the start or on average, and its "
    "gradient. [`sy.Monitor`](monitor.md) measures them; `sy.measure` says `not applicable`.",
}


def default() -> str:
    """The metrics that are measured when none is named."""
    return ", ".join(f"`{row.name}`" for row in sy.metrics.chosen(None)) + ".\n"


def statuses() -> str:
    """The table of statuses."""
    rows = [f"| `{status}` | {means} |\n" for status, means in STATUSES.items()]
    return "| status | means |\n|---|---|\n" + "".join(rows)


def catalog() -> str:
    """All metrics, group by group."""
    rows = sy.catalog()
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        inside = [row for row in rows if row.group == group]
        links = " ·\n".join(f"[`{row.name}`](#{row.name})" for row in inside)
        parts.append(f"## Group `{group}`\n\n{GROUPS[group]}\n\n{links}\n")
        parts += map(entry, inside)
    return "\n" + "\n".join(parts) + "\n"


def entry(row: Metric) -> str:
    """What the page says of one metric."""
    of = {
        "values": "of a weight of any shape",
        "pair": "of two weights",
        "gradient": "of a gradient",
    }
    facts = [
        f"Unit `{row.unit}`",
        "one of several names" if row.range == "name" else f"range `{row.range}`",
        of.get(row.needs, "of a weight with two axes or more"),
        "a graph computes it" if row.in_graph else "not in a graph",
    ]
    if row.on_demand:
        facts.append("on demand")
    said = [row.description, *further(row.name)]
    told = "; ".join(facts) + (f". Source: {row.source}" if row.source else "")
    return "\n\n".join([f"### `{row.name}`", *said, f"{told}.\n"])


def further(name: str) -> list[str]:
    """The paragraphs of the docstring after the first, up to the arguments."""
    paragraphs = (inspect.getdoc(getattr(sy.metrics, name)) or "").split("\n\n")[1:]
    kept: list[str] = []
    for paragraph in paragraphs:
        if paragraph.startswith(("Args:", "Returns:", "Raises:", "Example:")):
            break
        kept.append(" ".join(paragraph.split()))
    return kept


BLOCKS: dict[str, Callable[[], str]] = dict(default=default, statuses=statuses, catalog=catalog)


def made(text: str) -> str:
    """The page, with all that is made put in anew."""
    return MADE.sub(lambda found: f"{found[1]}{found[2]}{BLOCKS[found[1]]()}", text)


def main() -> int:
    """Writes the page, or says whether it is stale."""
    parser = argparse.ArgumentParser(description="Fill in docs/metrics.md out of the catalog.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if it is stale")
    check = parser.parse_args().check
    before = PAGE.read_text(encoding="utf-8")
    after = made(before)
    if after == before:
        return 0
    if check:
        print(f"{PAGE.name} is stale. Run: python docs/make_metrics.py", file=sys.stderr)
        return 1
    PAGE.write_text(after, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
