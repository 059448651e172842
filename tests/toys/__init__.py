"""A backbone and a source model of one's own, as a user would add them: a folder each."""

from pathlib import Path

BACKBONES = Path(__file__).parent / "backbones"
MODELS = Path(__file__).parent / "models"
ENVIRONMENT = {"STRATA_BACKBONES": str(BACKBONES), "STRATA_MODELS": str(MODELS)}
