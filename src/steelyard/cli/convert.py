"""`steelyard convert`: the weights of a file in a new file of another kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from steelyard.cli import _output

_SCHEMA = 1
_FLOATS = ("bfloat16", "float16", "float32", "float64")
# Of which Keras, too, makes any of the others when it loads a file.
_FROM = (*_FLOATS, "float8_e4m3fn", "float8_e5m2")


@click.command()
@click.argument("src")
@click.argument("out")
@click.option("--select", multiple=True, metavar="PATTERN", help="Only these; may be repeated.")
@click.option("--dtype", type=click.Choice(_FLOATS), help="Round the selected floats to this.")
@click.option(
    "--rename", nargs=2, multiple=True, metavar="OLD NEW", help="Another head of addresses."
)
@click.option("--leave-out", multiple=True, metavar="PATTERN", help="Not these, such as optimizer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def convert(
    src: str,
    out: str,
    select: tuple[str, ...],
    dtype: str | None,
    rename: tuple[tuple[str, str], ...],
    leave_out: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the weights of a file to a new one; its ending says the format.

    OUT ends in .keras, .weights.h5, .safetensors or .npz. It must not be there yet, and is there
    when it is complete. What Keras loads is made of a Keras file, or of a safetensors file that was
    made of one; the others are made of any checkpoint.

    The JSON document has the keys steelyard ("convert"), schema (1), source, out, count, size and
    nbytes, of the weights in the new file.
    """
    from steelyard import converting, opening

    rules = [*((pattern, None) for pattern in leave_out), *rename]
    with _output.bar("Converting") as progress:
        converting.convert(
            src,
            out,
            select=select or "**",
            map=_to(dtype) if dtype else None,
            rename=rules or None,
            progress=progress,
        )
    found = opening.weights(out)
    told = {"count": len(found), "size": found.size, "nbytes": found.nbytes}
    if as_json:
        _output.document("convert", _SCHEMA, {"source": src, "out": out, **told})
    else:
        from steelyard.selection import plain, total

        _output.show([], (), [f"{plain(out)}: {total(found.specs)}"])


def _to(name: str) -> Callable[[Any, Any], Any]:
    """What rounds floats to another dtype; integers and codes stay as they are."""
    import ml_dtypes
    import numpy as np

    from steelyard.errors import SteelyardError

    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)

    def rounded(weight: Any, array: Any) -> Any:
        # Codes with scales are handed in as floats, and stored as integers.
        if weight.dtype not in _FROM:
            return array
        with np.errstate(over="ignore"):
            found = array.astype(dtype)
        if np.count_nonzero(np.isfinite(found)) < np.count_nonzero(np.isfinite(array)):
            raise SteelyardError(
                f"{weight.address!r} has values that are too large for {name}; leave it out of "
                f"--select, or choose another --dtype."
            )
        return found

    return rounded
