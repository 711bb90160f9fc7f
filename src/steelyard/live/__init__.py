"""Keras models as sources of weights, and what a weight effectively is."""

from steelyard.live._effective import effective as effective
from steelyard.live._effective import stored as stored
from steelyard.live._holders import holders as holders
from steelyard.live._holders import models_around as models_around
from steelyard.live._keras import AsksForLosses as AsksForLosses
from steelyard.live._keras import add_inputs as add_inputs
from steelyard.live._keras import as_default as as_default
from steelyard.live._keras import attributes as attributes
from steelyard.live._keras import call_root as call_root
from steelyard.live._keras import calls as calls
from steelyard.live._keras import consumers as consumers
from steelyard.live._keras import dtype_of as dtype_of
from steelyard.live._keras import in_shape_inference as in_shape_inference
from steelyard.live._keras import in_stateless_scope as in_stateless_scope
from steelyard.live._keras import in_training as in_training
from steelyard.live._keras import initialize_later as initialize_later
from steelyard.live._keras import is_initialized as is_initialized
from steelyard.live._keras import let_go as let_go
from steelyard.live._keras import own_dtype as own_dtype
from steelyard.live._keras import own_variables as own_variables
from steelyard.live._keras import place_of as place_of
from steelyard.live._keras import producer as producer
from steelyard.live._keras import put_at as put_at
from steelyard.live._keras import refill as refill
from steelyard.live._keras import release as release
from steelyard.live._keras import reopen as reopen
from steelyard.live._keras import unmapped as unmapped
from steelyard.live._quantized import read as read
from steelyard.live._source import LiveSource as LiveSource
from steelyard.live._substitute import Recipe as Recipe
from steelyard.live._substitute import Substitute as Substitute
from steelyard.live._substitute import fixed as fixed
from steelyard.live._substitute import hold as hold
from steelyard.live._substitute import substitutes as substitutes
from steelyard.live._substitute import ultimate as ultimate
from steelyard.live._walk import Place as Place
from steelyard.live._walk import children as children
from steelyard.live._walk import holds as holds
from steelyard.live._walk import own_weights as own_weights
from steelyard.live._walk import paths_to as paths_to
from steelyard.live._walk import reach as reach
from steelyard.live._walk import still_held as still_held
from steelyard.live._walk import walk as walk

__all__ = [
    "AsksForLosses",
    "LiveSource",
    "Place",
    "Recipe",
    "Substitute",
    "add_inputs",
    "as_default",
    "attributes",
    "call_root",
    "calls",
    "children",
    "consumers",
    "dtype_of",
    "effective",
    "fixed",
    "hold",
    "holders",
    "holds",
    "in_shape_inference",
    "in_stateless_scope",
    "in_training",
    "initialize_later",
    "is_initialized",
    "let_go",
    "models_around",
    "own_dtype",
    "own_variables",
    "own_weights",
    "paths_to",
    "place_of",
    "producer",
    "put_at",
    "reach",
    "read",
    "refill",
    "release",
    "reopen",
    "still_held",
    "stored",
    "substitutes",
    "ultimate",
    "unmapped",
    "walk",
]
