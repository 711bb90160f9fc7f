"""References: one layer's weight inside another layer."""

from steelyard.refs._bind import bind as bind
from steelyard.refs._bind import references as references
from steelyard.refs._find import descend as descend
from steelyard.refs._find import feeding as feeding
from steelyard.refs._find import graph_around as graph_around
from steelyard.refs._find import upstream as upstream
from steelyard.refs._owner import Owner as Owner
from steelyard.refs._owner import find_weight as find_weight
from steelyard.refs._reader import Reader as Reader
from steelyard.refs._reader import build_once as build_once
from steelyard.refs._readings import ReaderNotes as ReaderNotes
from steelyard.refs._ref import WeightRef as WeightRef
from steelyard.refs._ref import ref as ref
from steelyard.refs._stack import fitting as fitting
from steelyard.refs._stack import making as making
from steelyard.refs._stack import save_in_progress as save_in_progress
from steelyard.refs._stack import trainers as trainers
from steelyard.refs._stack import writers as writers
from steelyard.refs._target import Target as Target
from steelyard.refs._target import is_target_config as is_target_config

__all__ = [
    "Owner",
    "Reader",
    "ReaderNotes",
    "Target",
    "WeightRef",
    "bind",
    "build_once",
    "descend",
    "feeding",
    "find_weight",
    "fitting",
    "graph_around",
    "is_target_config",
    "making",
    "ref",
    "references",
    "save_in_progress",
    "trainers",
    "upstream",
    "writers",
]
