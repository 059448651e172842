"""A training step side by side with alignn's own model: same batches, same loss, same threads, one process.

    STRATA_RAW=... python bench/training.py [--batches 4] [--threads 2] [--source alignn_ff] [--json]

Batches of 32 random `megnet` structures of at most 20 atoms. A step is collating (DGL batches, or quotient
graphs), forward, L1, backward and AdamW; graphs are made beforehand for both. Also: ours without symmetry
compression, and each with the C library's allocator as it is and told to keep its pages. Medians over steps,
the ways taken in turn.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from extraction import cpu_name, sample

from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.batch import collate
from zoo.backbones.alignn.dgl import DglNetwork
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.network import Alignn
from zoo.hub import load_source
from zoo.training.loop import keep_pages

BATCH = 32
MOST_ATOMS = 20
RATE = 1e-5  # so small that the steps do not change what is measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", default="alignn_mp_eform", help="alignn_ff: normalised row by row")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    result = measure(options.batches, options.repeats, options.seed, options.source)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")


def measure(batches: int, repeats: int, seed: int, source_model: str) -> dict[str, float | int | str]:
    """Time the steps of each way; milliseconds a step of 32 structures."""
    source = load_source(source_model)
    structures = sample(batches * BATCH, seed, MOST_ATOMS)
    target = torch.randn(len(structures), generator=torch.Generator().manual_seed(seed))
    packed = [prepare(s, source.card.graph, True, 10**7).quotient for s in structures]
    plain = [prepare(s, source.card.graph, False, 10**7) for s in structures]
    reference = DglNetwork(source.state, source.card.architecture, source.card.graph)
    pairs = [reference.graphs(p) for p in plain]
    groups = [slice(i, i + BATCH) for i in range(0, len(structures), BATCH)]

    ours, ours_plain = (_network(source) for _ in range(2))
    ways: dict[str, Callable[[slice], torch.Tensor]] = {
        "alignn_dgl": lambda g: _values(reference.model(_dgl_batch(pairs[g]))),
        "ours_uncompressed": lambda g: ours_plain(collate([p.quotient for p in plain[g]]))[:, 0],
        "ours": lambda g: ours(collate(packed[g]))[:, 0],
    }
    models = {"alignn_dgl": reference.model, "ours_uncompressed": ours_plain, "ours": ours}
    steps = {name: _step(models[name], way, target) for name, way in ways.items()}
    first = {name: steps[name](groups[0]) for name in ways}
    ms: dict[str, float] = {}
    for kept in (False, True):  # the setting cannot be taken back, so the default comes first
        if kept and not keep_pages():
            break
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for group in groups:
                for name, step in steps.items():
                    begun = time.perf_counter()
                    step(group)
                    times[name].append(time.perf_counter() - begun)
        ms |= {
            f"{name}{'_pages_kept' if kept else ''}": statistics.median(t) * 1e3 for name, t in times.items()
        }
    best = "_pages_kept" if "ours_pages_kept" in ms else ""
    return {
        "ratio": ms["alignn_dgl"] / ms[f"ours{best}"],
        "ratio_same_allocator": ms[f"alignn_dgl{best}"] / ms[f"ours{best}"],
        "ratio_compression": ms[f"ours_uncompressed{best}"] / ms[f"ours{best}"],
        "ratio_pages": ms["ours"] / ms[f"ours{best}"],
        **{f"ms_{name}": value for name, value in ms.items()},
        "loss_difference": abs(first["ours"] - first["alignn_dgl"]) / first["alignn_dgl"],
        "mean_angles": float(np.mean([p.n_angles for p in plain])),
        "mean_compressed_angles": float(np.mean([len(q.cosine) for q in packed])),
        "structures": len(structures),
        "batch": BATCH,
        "threads": torch.get_num_threads(),
        "machine": f"{os.cpu_count()} cores, {cpu_name()}, torch {torch.__version__}",
        "load_after": os.getloadavg()[0],
    }


def _network(source: Any) -> Alignn:
    network = Alignn(torch.from_numpy(atom_features()), source.card.architecture)
    network.load(source.state, source.card.name)
    return network


def _values(said: Any) -> torch.Tensor:
    return (said["out"] if isinstance(said, dict) else said).reshape(-1)


def _dgl_batch(pairs: list[tuple[Any, Any]]) -> Any:
    import dgl

    # the model takes the features off its graphs, so each step has copies of its own, as a loader gives them
    g, lg = (dgl.batch([pair[k].clone() for pair in pairs]) for k in (0, 1))
    return g, lg, torch.zeros(len(pairs), 3, 3)


def _step(
    model: torch.nn.Module, forward: Callable[[slice], torch.Tensor], target: torch.Tensor
) -> Callable[[slice], float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-5)
    model.train()

    def step(group: slice) -> float:
        loss = (forward(group) - target[group]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    main()
