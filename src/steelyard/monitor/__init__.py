"""Numbers about the weights while they train: the callback, its schedule, its sinks."""

from steelyard.monitor.monitor import Monitor

__all__ = ["Monitor"]
