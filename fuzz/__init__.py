"""Fuzzing of the readers, guided by coverage: `python fuzz/run.py --seconds 3600`."""
