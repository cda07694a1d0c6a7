"""Backbones: one file each, registered by the name that the command line uses; a plugin registers its own."""

from __future__ import annotations

from harness.models.base import BACKBONES, Backbone, Kernel, Recipe, backbone, scores
from harness.models.scoring.candidates import candidate_scores

from harness.models.ttranse import TTransE  # isort: skip  first in tables
from harness.models.lifted import Lifted
from harness.models.rotate_translate import RotateTranslate
from harness.models.ta_distmult import TADistMult
from harness.models.tcomplex import TComplEx
from harness.models.telm import TeLM
from harness.models.timeplex import Timeplex
from harness.models.tntcomplex import TNTComplEx

__all__ = [
    "BACKBONES",
    "Backbone",
    "Kernel",
    "Lifted",
    "Recipe",
    "RotateTranslate",
    "TADistMult",
    "TComplEx",
    "TNTComplEx",
    "TTransE",
    "TeLM",
    "Timeplex",
    "backbone",
    "candidate_scores",
    "scores",
]
