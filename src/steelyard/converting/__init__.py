"""The weights of anything that has some, in a new file."""

from steelyard.converting._convert import convert

__all__ = ["convert"]
