"""Array to number: pure functions, the same in a graph and on NumPy arrays."""

from steelyard.metrics._spectral import spectral_norm as spectral_norm
from steelyard.metrics._spectral import stable_rank as stable_rank
from steelyard.metrics._values import inf_count as inf_count
from steelyard.metrics._values import l1_norm as l1_norm
from steelyard.metrics._values import l2_norm as l2_norm
from steelyard.metrics._values import max as max
from steelyard.metrics._values import max_abs as max_abs
from steelyard.metrics._values import mean as mean
from steelyard.metrics._values import min as min
from steelyard.metrics._values import nan_count as nan_count
from steelyard.metrics._values import std as std
from steelyard.metrics._values import zero_fraction as zero_fraction

__all__ = [
    "inf_count",
    "l1_norm",
    "l2_norm",
    "max",
    "max_abs",
    "mean",
    "min",
    "nan_count",
    "spectral_norm",
    "stable_rank",
    "std",
    "zero_fraction",
]
