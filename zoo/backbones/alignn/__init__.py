"""ALIGNN: its graphs, their compression by symmetry, and its forward pass."""

from zoo.backbones.alignn.backbone import ALIGNN

BACKBONE = ALIGNN
