"""Draws the pictures of the gallery: runs each block of the page, and draws what it computed.

    python docs/make_pictures.py .build/pictures

The picture that the page shows after a block of Python is drawn from the names that the block has
set, by the function here that has the picture's name. The ink is one gray and two colors that can
be read on white and on black.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import matplotlib

matplotlib.use("svg")

import numpy as np
from matplotlib import pyplot

PAGE = Path(__file__).parent / "gallery.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$\s*!\[[^\]]*\]\([^)]*/(\w+)\.svg\)", re.M | re.S)
GRAY, FIRST, SECOND = "#858b93", "#e07b39", "#3f8fd2"
STYLE = {
    "axes.edgecolor": GRAY,
    "axes.labelcolor": GRAY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 10.0,
    "savefig.transparent": True,
    "svg.hashsalt": "steelyard",
    "text.color": GRAY,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
}


def sigma(page: dict[str, Any]) -> None:
    """The largest singular value by epoch, free and bounded."""
    _, axes = pyplot.subplots(figsize=(7, 3.2))
    for name, color, label in (("free", FIRST, "as it is"), ("bounded", SECOND, "SpectralNorm")):
        right = f"{page[f'{name}_accuracy']:.0%} of 597 unseen digits right"
        axes.plot(page[name], color=color, marker="o", markersize=4, label=f"{label}: {right}")
    axes.set(xlabel="epoch", ylabel="σ₁ of hidden/kernel", ylim=(0, None))
    axes.legend(frameon=False)


def tail(page: dict[str, Any]) -> None:
    """The eigenvalues of a kernel by rank, with the fitted power law."""
    _, axes = pyplot.subplots(figsize=(7, 3.6))
    for name, color in (("before", SECOND), ("after", FIRST)):
        numbers = {reading.metric: reading.value for reading in page[name]}
        status = page[name]["second/kernel", "alpha"].status
        squares = np.sort(np.square(numbers["singular_values"]))[::-1]
        share = np.arange(1, len(squares) + 1) / len(squares)
        label = f"{name} training: α = {numbers['alpha']:.2f}, {status}"
        axes.loglog(squares, share, ".", color=color, markersize=5, label=label)
        start = numbers["alpha_xmin"]
        fitted = np.array([start, squares[0]])
        top = numbers["alpha_tail_size"] / len(squares)
        line = top * (fitted / start) ** (1 - numbers["alpha"])
        axes.loglog(fitted, line, color=color, linestyle="-" if status == "ok" else ":")
    axes.axvline(numbers["mp_bulk_max"], color=GRAY, linestyle="--", linewidth=0.8)
    axes.text(numbers["mp_bulk_max"] * 1.05, 1, "chance would end here", va="top")
    axes.set(xlabel="λ of second/kernel", ylabel="share of eigenvalues ≥ λ", xlim=(0.03, 60))
    axes.legend(frameon=False, loc="lower left")


def tied(page: dict[str, Any]) -> None:
    """What units look for and paint; digits and answers."""
    rows = {
        "sought": page["sought"],
        "painted": page["painted"],
        "unseen digit": page["unseen"],
        "its answer": page["answers"],
    }
    bound = np.abs(page["sought"][:8]).max()
    _, grid = pyplot.subplots(len(rows), 8, figsize=(7, 3.8))
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=False):
            signed = name in ("sought", "painted")
            colors = {"cmap": "PuOr_r", "vmin": -bound, "vmax": bound} if signed else {}
            axes.imshow(picture.reshape(8, 8), **{"cmap": "gray", "vmin": 0, "vmax": 1} | colors)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")


DRAWN = {"sigma": sigma, "tail": tail, "tied": tied}


def main(folder: Path) -> None:
    """Makes every picture of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    found = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert {name for _, name in found} == set(DRAWN)
    for code, name in found:
        page: dict[str, Any] = {}
        exec(compile(code, f"{PAGE.name}: {name}", "exec"), page)
        with pyplot.rc_context(STYLE):
            DRAWN[name](page)
            pyplot.savefig(folder / f"{name}.svg", metadata={"Date": None})
        pyplot.close("all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
