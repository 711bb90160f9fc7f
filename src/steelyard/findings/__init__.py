"""Findings: what will go wrong with the weights of a model."""

from steelyard.findings._audit import CHECKS as CHECKS
from steelyard.findings._audit import audit as audit

__all__ = ["CHECKS", "audit"]
