"""Saving, loading and cloning models with all that is shared in them."""

from steelyard.saving._clone import clone_model as clone_model
from steelyard.saving._load import load_model as load_model
from steelyard.saving._save import save_model as save_model

__all__ = ["clone_model", "load_model", "save_model"]
