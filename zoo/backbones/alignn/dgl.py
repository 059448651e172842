"""The reference backend: alignn's own model through DGL, on our graphs; slow, what ours is checked by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.lazy import need
from zoo.backbones.alignn.architecture import MODULES, Architecture
from zoo.backbones.alignn.backbone import Prepared
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import GraphSettings, line_graph
from zoo.backbones.alignn.inference import Output


class DglNetwork:
    """alignn's own module with a hook at each checkpoint; inference mode, CPU, no compression."""

    def __init__(
        self, state: Mapping[str, torch.Tensor], architecture: Architecture, graph: GraphSettings
    ) -> None:
        self._dgl = need("dgl", "dgl")
        self._graphs = need("alignn.graphs", "dgl")
        self.model = _model(architecture)
        self.model.load_state_dict(dict(state), strict=True)
        self.model.eval()
        self._settings = graph
        self._width = architecture.hidden_features
        self._features = torch.from_numpy(atom_features())

    def graphs(self, prepared: Prepared) -> tuple[Any, Any]:
        """One structure as DGL graph and line graph, in the attributes that alignn's model reads."""
        graph = prepared.graph
        g = self._dgl.graph((torch.tensor(graph.src), torch.tensor(graph.dst)), num_nodes=len(graph.numbers))
        g.ndata["atom_features"] = self._features[graph.numbers.astype(np.int64)]
        g.edata["r"] = torch.from_numpy(graph.vector.astype(np.float32))
        if self._settings.self_image == "alignn":
            lg = g.line_graph(shared=True)
        else:  # DGL never pairs a bond with itself; here a bond to an own image goes on in a straight line
            line = line_graph(graph, self._settings)
            lg = self._dgl.graph((torch.tensor(line.src), torch.tensor(line.dst)), num_nodes=len(graph.src))
            lg.ndata["r"] = g.edata["r"]
        lg.apply_edges(self._graphs.compute_bond_cosines)
        return g, lg

    @torch.inference_mode()
    def run(self, prepared: Sequence[Prepared], checkpoints: Sequence[str]) -> Output:
        """Run one batch through `dgl.batch`."""
        pairs = [self.graphs(p) for p in prepared]
        g, lg = self._dgl.batch([a for a, _ in pairs]), self._dgl.batch([b for _, b in pairs])
        rows = {"atom": g.batch_num_nodes(), "bond": g.batch_num_edges(), "angle": lg.batch_num_edges()}
        vectors = torch.zeros(len(prepared), len(checkpoints), self._width)
        hooks = []
        for slot, name in enumerate(checkpoints):
            path, output = MODULES[name]
            counts = rows[name.partition("_")[0]]

            def keep(_module, _inputs, outputs, slot=slot, output=output, counts=counts):
                values = outputs[output] if isinstance(outputs, tuple) else outputs
                vectors[:, slot] = _means(values, counts)

            hooks.append(self.model.get_submodule(path).register_forward_hook(keep))
        try:
            prediction = self.model((g, lg, torch.zeros(len(prepared), 3, 3)))
        finally:
            for hook in hooks:
                hook.remove()
        if isinstance(prediction, dict):  # the network that knows forces, too
            prediction = prediction["out"]
        return Output(prediction.reshape(len(prepared), -1), vectors)


def _model(architecture: Architecture) -> torch.nn.Module:
    """alignn's module of these sizes; the layer-norm network without what it does beyond an energy."""
    sizes = architecture.model_dump()
    if architecture.name == "alignn":
        alignn = need("alignn.models.alignn", "dgl")
        return alignn.ALIGNN(alignn.ALIGNNConfig(**sizes))
    atomwise = need("alignn.models.alignn_atomwise", "dgl")
    energy_only = {
        "gradwise_weight": 0.0,
        "energy_mult_natoms": False,
        "use_penalty": False,
        "lg_on_fly": False,
    }
    return atomwise.ALIGNNAtomWise(atomwise.ALIGNNAtomWiseConfig(**sizes, **energy_only))


def _means(values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Mean over each structure's rows; zeros where it has none."""
    ends = torch.cumsum(counts, 0).tolist()
    starts = [0, *ends[:-1]]
    return torch.stack([values[a:b].sum(0) / max(b - a, 1) for a, b in zip(starts, ends, strict=True)])
