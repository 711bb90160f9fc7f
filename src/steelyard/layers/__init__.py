"""Keras layers that borrow weights of other layers."""

from steelyard.layers.borrower import Borrower as Borrower
from steelyard.layers.called_with import CalledWith as CalledWith
from steelyard.layers.tied_dense import TiedDense as TiedDense
from steelyard.layers.weight_analyzer import WeightAnalyzer as WeightAnalyzer
from steelyard.layers.weight_penalty import WeightPenalty as WeightPenalty
from steelyard.layers.weight_value import WeightValue as WeightValue

__all__ = ["Borrower", "CalledWith", "TiedDense", "WeightAnalyzer", "WeightPenalty", "WeightValue"]
