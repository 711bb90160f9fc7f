"""Parametrizations: what makes the tensor that a layer uses out of the tensors that it stores."""

from steelyard.parametrizations.chain import Chain as Chain
from steelyard.parametrizations.low_rank import LowRank as LowRank
from steelyard.parametrizations.mask import Mask as Mask
from steelyard.parametrizations.orthogonal import Orthogonal as Orthogonal
from steelyard.parametrizations.parametrization import Parametrization as Parametrization
from steelyard.parametrizations.sparsity_schedule import ConstantSparsity as ConstantSparsity
from steelyard.parametrizations.sparsity_schedule import PolynomialDecay as PolynomialDecay
from steelyard.parametrizations.sparsity_schedule import SparsitySchedule as SparsitySchedule
from steelyard.parametrizations.spectral_norm import SpectralNorm as SpectralNorm
from steelyard.parametrizations.standardize import Standardize as Standardize
from steelyard.parametrizations.weight_norm import WeightNorm as WeightNorm

__all__ = [
    "Chain",
    "ConstantSparsity",
    "LowRank",
    "Mask",
    "Orthogonal",
    "Parametrization",
    "PolynomialDecay",
    "SparsitySchedule",
    "SpectralNorm",
    "Standardize",
    "WeightNorm",
]
