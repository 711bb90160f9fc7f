"""Weights whose value is worked out from elsewhere: tied, parametrized, penalized; and baked."""

from steelyard.substitutes._bake import bake as bake
from steelyard.substitutes._parametrize import parametrizations_of as parametrizations_of
from steelyard.substitutes._parametrize import parametrize as parametrize
from steelyard.substitutes._penalize import penalize as penalize
from steelyard.substitutes._rewritten import Rewritten as Rewritten
from steelyard.substitutes._tie import tie as tie

__all__ = ["Rewritten", "bake", "parametrizations_of", "parametrize", "penalize", "tie"]
