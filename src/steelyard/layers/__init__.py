"""Keras layers that borrow weights of other layers."""

from steelyard.layers.borrower import Borrower as Borrower
from steelyard.layers.tied_dense import TiedDense as TiedDense
from steelyard.layers.weight_analyzer import WeightAnalyzer as WeightAnalyzer

__all__ = ["Borrower", "TiedDense", "WeightAnalyzer"]
