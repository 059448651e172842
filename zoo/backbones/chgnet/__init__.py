"""CHGNet: its graphs and its forward pass, for the weights that the package `chgnet` carries."""

from zoo.backbones.chgnet.backbone import CHGNet

BACKBONE = CHGNet
