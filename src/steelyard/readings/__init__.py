"""What was measured: readings by address and metric, as tables, frames and files."""

from steelyard.readings._readings import Readings

__all__ = ["Readings"]
