"""Changing the weights of a whole model at once, from another source."""

from steelyard.rewrite._copy import copy_weights as copy_weights

__all__ = ["copy_weights"]
