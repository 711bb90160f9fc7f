"""Files that could run code or reach out: what is in them, told without running or opening it."""

from steelyard.scanning._rules import RULES
from steelyard.scanning._scan import Scan, scan

__all__ = ["RULES", "Scan", "scan"]
