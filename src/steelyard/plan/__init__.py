"""Which numbers of which weights, in what order, within what memory, on what engine."""

from steelyard.plan._budget import bytes_of as bytes_of
from steelyard.plan._plan import Plan as Plan
from steelyard.plan._plan import Task as Task
from steelyard.plan._plan import plan_of as plan_of
from steelyard.plan._run import run as run
from steelyard.plan._run import stays_here as stays_here
from steelyard.plan._work import one_blas_thread as one_blas_thread

__all__ = ["Plan", "Task", "bytes_of", "one_blas_thread", "plan_of", "run", "stays_here"]
