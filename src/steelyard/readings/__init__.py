"""What was measured: readings by address and metric, as tables, frames and files."""

from steelyard.readings._files import check_path
from steelyard.readings._grid import grid
from steelyard.readings._readings import Readings

__all__ = ["Readings", "check_path", "grid"]
