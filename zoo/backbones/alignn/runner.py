"""ALIGNN's heavy half: batches of compressed graphs through our forward pass, or through alignn's own.

Rows of single atoms, bonds and angles come from our forward pass on the uncompressed graph.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import StrataError
from core.precision import BFLOAT16, FLOAT32
from zoo.backbones.alignn.architecture import Architecture
from zoo.backbones.alignn.backbone import ALIGNN, Prepared
from zoo.backbones.alignn.batch import collate
from zoo.backbones.alignn.dgl import DglNetwork
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import line_graph
from zoo.backbones.alignn.inference import Network, check_state
from zoo.backbones.alignn.published import read_archive
from zoo.backbones.alignn.quotient import uncompressed
from zoo.backbones.base import Output, Rows, Runner


class AlignnRunner(Runner):
    """Our forward pass on quotient graphs, or the reference where the settings ask for it."""

    def __init__(
        self,
        backbone: ALIGNN,
        state: Mapping[str, Tensor],
        device: torch.device,
        precision: str = FLOAT32,
    ) -> None:
        super().__init__(backbone, state, device)
        self._reference: DglNetwork | None = None
        if backbone.settings.backend == "dgl":
            if precision == BFLOAT16:
                raise StrataError(
                    "extract.precision is bfloat16, which alignn's own forward pass has not: set "
                    "extract.backbones.alignn.backend to torch"
                )
            self._reference = DglNetwork(state, backbone.architecture, backbone.graph)
        features = torch.from_numpy(atom_features())
        dtype = torch.bfloat16 if precision == BFLOAT16 else torch.float32
        self._network = Network(state, features, backbone.architecture, device, dtype)

    def run(self, prepared: Sequence[Prepared], checkpoints: Sequence[str]) -> Output:
        """Run one batch."""
        if self._reference is not None:
            prediction, vectors = self._reference.run(prepared, checkpoints)
        else:
            prediction, vectors = self._network(collate([p.quotient for p in prepared]), checkpoints)
        rows = [
            (p.n_bonds, p.n_angles, len(p.quotient.numbers), len(p.quotient.length), len(p.quotient.cosine))
            for p in prepared
        ]
        found = vectors.cpu().numpy()
        return Output(
            {name: found[:, k] for k, name in enumerate(checkpoints)},
            prediction[:, 0].cpu().numpy(),
            dict(zip(ALIGNN.counts, np.array(rows, np.int64).T, strict=True)),
        )

    def rows(self, prepared: Prepared, checkpoints: Sequence[str]) -> dict[str, Rows]:
        """Return the rows of one structure: every atom, bond (in both directions) and angle of its graph."""
        graph, line = prepared.graph, line_graph(prepared.graph, self.backbone.graph)
        found = self._network.rows(collate([uncompressed(graph, line)]), checkpoints)
        atoms = {
            "atom": np.arange(len(graph.numbers))[:, None],
            "bond": np.stack([graph.src, graph.dst], axis=1),
            "angle": np.stack([graph.src[line.src], graph.dst[line.dst], graph.dst[line.src]], axis=1),
        }
        return {
            name: Rows(found[name].cpu().numpy(), atoms[name.partition("_")[0]].astype(np.int64))
            for name in checkpoints
        }

    @classmethod
    def check_state(cls, state: Mapping[str, Tensor], architecture: Architecture, where: str) -> None:
        """Raise `StrataError` unless `state` has exactly the tensors of the architecture, all finite."""
        check_state(state, architecture, where)

    @classmethod
    def read_published(cls, path: Path, card: Any) -> tuple[dict[str, Tensor], Architecture]:
        """Read weights and architecture from a published zip or wheel (see `published.read_archive`)."""
        return read_archive(path, card)
