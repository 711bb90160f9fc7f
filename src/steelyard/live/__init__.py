"""Keras models as sources of weights, and what a weight effectively is."""

from steelyard.live._effective import effective as effective
from steelyard.live._effective import stored as stored
from steelyard.live._keras import add_inputs as add_inputs
from steelyard.live._keras import as_default as as_default
from steelyard.live._keras import attributes as attributes
from steelyard.live._keras import call_root as call_root
from steelyard.live._keras import calls as calls
from steelyard.live._keras import consumers as consumers
from steelyard.live._keras import dtype_of as dtype_of
from steelyard.live._keras import in_shape_inference as in_shape_inference
from steelyard.live._keras import own_dtype as own_dtype
from steelyard.live._keras import own_variables as own_variables
from steelyard.live._keras import producer as producer
from steelyard.live._keras import reopen as reopen
from steelyard.live._keras import unmapped as unmapped
from steelyard.live._quantized import read as read
from steelyard.live._source import LiveSource as LiveSource
from steelyard.live._walk import Place as Place
from steelyard.live._walk import children as children
from steelyard.live._walk import holds as holds
from steelyard.live._walk import own_weights as own_weights
from steelyard.live._walk import paths_to as paths_to
from steelyard.live._walk import reach as reach
from steelyard.live._walk import still_held as still_held
from steelyard.live._walk import walk as walk

__all__ = [
    "LiveSource",
    "Place",
    "add_inputs",
    "as_default",
    "attributes",
    "call_root",
    "calls",
    "children",
    "consumers",
    "dtype_of",
    "effective",
    "holds",
    "in_shape_inference",
    "own_dtype",
    "own_variables",
    "own_weights",
    "paths_to",
    "producer",
    "reach",
    "read",
    "reopen",
    "still_held",
    "stored",
    "unmapped",
    "walk",
]
