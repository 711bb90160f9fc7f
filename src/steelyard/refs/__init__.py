"""References: one layer's weight inside another layer."""

from steelyard.refs._bind import bind as bind
from steelyard.refs._bind import references as references
from steelyard.refs._find import feeding as feeding
from steelyard.refs._ref import WeightRef as WeightRef
from steelyard.refs._ref import ref as ref
from steelyard.refs._target import Target as Target
from steelyard.refs._target import is_target_config as is_target_config

__all__ = [
    "Target",
    "WeightRef",
    "bind",
    "feeding",
    "is_target_config",
    "ref",
    "references",
]
