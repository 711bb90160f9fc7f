"""Keras models as sources of weights, and what a weight effectively is."""

from steelyard.live._arguments import arguments_given as arguments_given
from steelyard.live._arguments import signature_of as signature_of
from steelyard.live._arrays import computed_now as computed_now
from steelyard.live._arrays import to_numpy as to_numpy
from steelyard.live._arrays import view as view
from steelyard.live._assign import assign as assign
from steelyard.live._axes import axes_of as axes_of
from steelyard.live._effective import effective as effective
from steelyard.live._effective import stored as stored
from steelyard.live._holders import holders as holders
from steelyard.live._holders import holders_around as holders_around
from steelyard.live._keras import AsksForLosses as AsksForLosses
from steelyard.live._keras import add_at as add_at
from steelyard.live._keras import add_inputs as add_inputs
from steelyard.live._keras import as_default as as_default
from steelyard.live._keras import attributes as attributes
from steelyard.live._keras import averages as averages
from steelyard.live._keras import call_arguments as call_arguments
from steelyard.live._keras import call_root as call_root
from steelyard.live._keras import calls as calls
from steelyard.live._keras import calls_within as calls_within
from steelyard.live._keras import compiled_flags as compiled_flags
from steelyard.live._keras import consumers as consumers
from steelyard.live._keras import dtype_of as dtype_of
from steelyard.live._keras import has_own_train_step as has_own_train_step
from steelyard.live._keras import identified as identified
from steelyard.live._keras import in_shape_inference as in_shape_inference
from steelyard.live._keras import in_stateless_scope as in_stateless_scope
from steelyard.live._keras import in_training as in_training
from steelyard.live._keras import in_training_mode as in_training_mode
from steelyard.live._keras import initialize_later as initialize_later
from steelyard.live._keras import is_auto_named as is_auto_named
from steelyard.live._keras import is_default as is_default
from steelyard.live._keras import is_graph_model as is_graph_model
from steelyard.live._keras import is_initialized as is_initialized
from steelyard.live._keras import is_remade_from_layers as is_remade_from_layers
from steelyard.live._keras import let_go as let_go
from steelyard.live._keras import list_for_torch as list_for_torch
from steelyard.live._keras import loss_of as loss_of
from steelyard.live._keras import mapped_value as mapped_value
from steelyard.live._keras import may_overwrite as may_overwrite
from steelyard.live._keras import operations as operations
from steelyard.live._keras import optimized as optimized
from steelyard.live._keras import own_dtype as own_dtype
from steelyard.live._keras import own_variables as own_variables
from steelyard.live._keras import place_of as place_of
from steelyard.live._keras import producer as producer
from steelyard.live._keras import put_at as put_at
from steelyard.live._keras import reopen as reopen
from steelyard.live._keras import safe_mode as safe_mode
from steelyard.live._keras import unmapped as unmapped
from steelyard.live._keras import written as written
from steelyard.live._override import call_with as call_with
from steelyard.live._override import spec_with as spec_with
from steelyard.live._quantized import read as read
from steelyard.live._source import LiveSource as LiveSource
from steelyard.live._substitute import Recipe as Recipe
from steelyard.live._substitute import Substitute as Substitute
from steelyard.live._substitute import fixed as fixed
from steelyard.live._substitute import hold as hold
from steelyard.live._substitute import substitutes as substitutes
from steelyard.live._substitute import ultimate as ultimate
from steelyard.live._undo import Undo as Undo
from steelyard.live._undo import bring_back as bring_back
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
    "Undo",
    "add_at",
    "add_inputs",
    "arguments_given",
    "as_default",
    "assign",
    "attributes",
    "averages",
    "axes_of",
    "bring_back",
    "call_arguments",
    "call_root",
    "call_with",
    "calls",
    "calls_within",
    "children",
    "compiled_flags",
    "computed_now",
    "consumers",
    "dtype_of",
    "effective",
    "fixed",
    "has_own_train_step",
    "hold",
    "holders",
    "holders_around",
    "holds",
    "identified",
    "in_shape_inference",
    "in_stateless_scope",
    "in_training",
    "in_training_mode",
    "initialize_later",
    "is_auto_named",
    "is_default",
    "is_graph_model",
    "is_initialized",
    "is_remade_from_layers",
    "let_go",
    "list_for_torch",
    "loss_of",
    "mapped_value",
    "may_overwrite",
    "operations",
    "optimized",
    "own_dtype",
    "own_variables",
    "own_weights",
    "paths_to",
    "place_of",
    "producer",
    "put_at",
    "reach",
    "read",
    "reopen",
    "safe_mode",
    "signature_of",
    "spec_with",
    "still_held",
    "stored",
    "substitutes",
    "to_numpy",
    "ultimate",
    "unmapped",
    "view",
    "walk",
    "written",
]
