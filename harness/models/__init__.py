"""Backbones: one file each, registered by the name that the command line uses."""

from __future__ import annotations

from harness.models.base import Backbone, Kernel, Recipe, scores
from harness.models.candidates import candidate_scores
from harness.models.ta_distmult import TADistMult
from harness.models.ttranse import TTransE

BACKBONES: dict[str, type[Backbone]] = {"ttranse": TTransE, "ta-distmult": TADistMult}

__all__ = ["BACKBONES", "Backbone", "Kernel", "Recipe", "TADistMult", "TTransE", "candidate_scores", "scores"]
