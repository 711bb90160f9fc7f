"""What differs between two selections of weights, a pair of them in memory at a time."""

from steelyard.compare._differences import differences

__all__ = ["differences"]
