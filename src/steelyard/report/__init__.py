"""Records as a page: one file that says first what is wrong, and where."""

from steelyard.report._alarms import LEVELS, Alarm, Audit, look_over, look_over_run
from steelyard.report._measured import PAGE_METRICS
from steelyard.report._screen import Screen, screen
from steelyard.report._write import check_page_path, page_html, write_page

__all__ = [
    "LEVELS",
    "PAGE_METRICS",
    "Alarm",
    "Audit",
    "Screen",
    "check_page_path",
    "look_over",
    "look_over_run",
    "page_html",
    "screen",
    "write_page",
]
