"""What was measured: readings by address and metric, as tables, frames and files."""

from steelyard.readings._files import check_path
from steelyard.readings._grid import grid
from steelyard.readings._readings import Readings
from steelyard.readings._run import Run
from steelyard.readings._run_files import RUN_ENDINGS, check_run_path, run_writer
from steelyard.readings._run_step import RunStep, RunWriter

__all__ = [
    "RUN_ENDINGS",
    "Readings",
    "Run",
    "RunStep",
    "RunWriter",
    "check_path",
    "check_run_path",
    "grid",
    "run_writer",
]
