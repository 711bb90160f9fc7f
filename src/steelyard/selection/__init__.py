"""Some of the weights of a source, chosen by address and by what they are."""

from steelyard.selection._change_table import change_rows
from steelyard.selection._changes import Changes
from steelyard.selection._html import Cut, html_rows
from steelyard.selection._rename import Rename, renamed
from steelyard.selection._table import count, plain, total
from steelyard.selection._weights import Weight, Weights

__all__ = [
    "Changes",
    "Cut",
    "Rename",
    "Weight",
    "Weights",
    "change_rows",
    "count",
    "html_rows",
    "plain",
    "renamed",
    "total",
]
