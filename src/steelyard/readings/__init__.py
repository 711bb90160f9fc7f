"""What was measured: readings by address and metric, as tables, frames and files."""

from steelyard.readings._files import check_path
from steelyard.readings._grid import grid
from steelyard.readings._notes import SIGNS
from steelyard.readings._readings import Readings
from steelyard.readings._replaced import replaced
from steelyard.readings._run import Run
from steelyard.readings._run_files import RUN_ENDINGS, check_run_path, holds_run, run_writer
from steelyard.readings._run_state import run_file, run_is_open
from steelyard.readings._run_step import RunStep, RunWriter

__all__ = [
    "RUN_ENDINGS",
    "SIGNS",
    "Readings",
    "Run",
    "RunStep",
    "RunWriter",
    "check_path",
    "check_run_path",
    "grid",
    "holds_run",
    "replaced",
    "run_file",
    "run_is_open",
    "run_writer",
]
