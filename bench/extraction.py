"""Extraction side by side with alignn's own tools: same structures, same threads, one process.

    STRATA_RAW=... python bench/extraction.py --structures 300 [--json]

(a) alignn's graph builder and model through DGL, one structure at a time; (b) the same in batches of 32 by
`dgl.batch`; (c) ours without symmetry compression; (d) ours with it, compression counted. The floor is the
matrix products that (d) does, at the rate that this machine reaches on them. Medians over repeats.
"""

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core.archive import read_json
from core.params import Extract
from core.structure import Structure
from zoo.backbones.alignn.backbone import Prepared
from zoo.backbones.alignn.batch import Batch, by_angles, collate
from zoo.backbones.alignn.graph import build, line_graph
from zoo.backbones.engine import Engine
from zoo.extraction import make_engine
from zoo.hub import SourceModel, load_source

SOURCE = "alignn_mp_eform"
BATCH = 32
WARM_UPS = 3
ATOMS = (0, 8, 20, 50, 200)  # cell sizes that are timed apart


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--structures", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    result = measure(options.structures, options.repeats, options.seed)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")


def measure(count: int, repeats: int, seed: int) -> dict[str, float | int | str]:
    """Time the four ways and the floor; milliseconds are per structure."""
    structures = sample(count, seed)
    source = load_source(SOURCE)
    plain, packed = (
        make_engine(SOURCE, Extract(device="cpu", backbones={"alignn": {"compression": on}}))
        for on in (False, True)
    )
    reference = Reference(source)
    atoms = [reference.atoms(s) for s in structures]

    def timed(step: Callable[[], object]) -> float:
        return statistics.median(seconds(step) for _ in range(repeats)) / count * 1e3

    for s, a in zip(structures[:WARM_UPS], atoms[:WARM_UPS], strict=True):
        reference.run([reference.graph(a)])
        plain([s])
        packed([s])
    theirs = [reference.graph(a) for a in atoms]
    groups = [theirs[i : i + BATCH] for i in range(0, count, BATCH)]
    graphs = [build(s, source.card.graph) for s in structures]
    prepared = packed.prepare(structures)
    unpacked = plain.prepare(structures)
    ms = {
        "alignn_graph": timed(lambda: [reference.graph(a) for a in atoms]),
        "ours_graph": timed(
            lambda: [line_graph(build(s, source.card.graph), source.card.graph) for s in structures]
        ),
        "ours_graph_and_compression": timed(lambda: packed.prepare(structures)),
        "alignn_model_single": timed(lambda: [reference.run([g]) for g in theirs]),
        "alignn_model_batched": timed(lambda: [reference.run(g) for g in groups]),
        "ours_model_plain": timed(lambda: plain.run(unpacked)),
        "ours_model_compressed": timed(lambda: packed.run(prepared)),
        "ours_plain": timed(lambda: plain(structures)),
        "ours_compressed": timed(lambda: packed(structures)),
    }
    floor = floor_seconds(prepared, packed.backbone.batch_cost) / count * 1e3
    single, batched = (ms["alignn_graph"] + ms[f"alignn_model_{k}"] for k in ("single", "batched"))
    a, b = packed(structures), plain(structures)
    rows = np.array([[len(g.src), len(line_graph(g, source.card.graph).src)] for g in graphs])
    return {
        "ratio_end_to_end": single / ms["ours_compressed"],
        "ratio_batched": batched / ms["ours_compressed"],
        "ratio_graph": ms["alignn_graph"] / ms["ours_graph"],
        "floor_ratio": ms["ours_model_compressed"] / floor,
        "ratio_compression": ms["ours_plain"] / ms["ours_compressed"],
        "angles_left": float(a.counts["n_distinct_angles"].sum() / rows[:, 1].sum()),
        "prediction_difference_over_spread": float(
            np.abs(a.prediction - b.prediction).max() / b.prediction.std()
        ),
        **{f"ms_{name}": value for name, value in ms.items()},
        "ms_compression": ms["ours_graph_and_compression"] - ms["ours_graph"],
        "ms_floor": floor,
        "mean_bonds": float(rows[:, 0].mean()),
        "mean_angles": float(rows[:, 1].mean()),
        **growth(packed, structures),
        "structures": count,
        "threads": torch.get_num_threads(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {cpu_name()}, torch {torch.__version__}",
        "load_before": os.getloadavg()[0],
    }


def growth(engine: Engine, structures: list[Structure]) -> dict[str, float]:
    """Milliseconds a structure of ours, end to end, by how many are run and by how many atoms a cell has."""
    found = {}
    for part in (4, 2, 1):
        some = structures[: max(1, len(structures) // part)]
        found[f"ms_ours_first_{len(some)}"] = seconds(lambda some=some: engine(some)) / len(some) * 1e3
    for low, high in itertools.pairwise(ATOMS):
        some = [s for s in structures if low < s.n_atoms <= high]
        if some:
            name = f"ms_ours_{low + 1}_to_{high}_atoms"
            found[name] = seconds(lambda some=some: engine(some)) / len(some) * 1e3
    return found


class Reference:
    """alignn's builder and model, as its own scripts call them."""

    def __init__(self, source: SourceModel) -> None:
        import dgl
        from alignn.graphs import Graph
        from jarvis.core.atoms import Atoms

        from zoo.backbones.alignn.dgl import DglNetwork

        self._dgl, self._graph, self._atoms = dgl, Graph, Atoms
        self._model = DglNetwork(source.state, source.card.architecture, source.card.graph).model

    def atoms(self, structure: Structure) -> object:
        """A jarvis-tools Atoms object."""
        return self._atoms.from_dict(structure.to_jarvis_dict())

    def graph(self, atoms: object) -> tuple:
        """Graph and line graph by alignn's default builder."""
        return self._graph.atom_dgl_multigraph(atoms, cutoff=8.0, max_neighbors=12, use_canonize=True)

    @torch.inference_mode()
    def run(self, pairs: list[tuple]) -> torch.Tensor:
        """The model on one structure, or on several by `dgl.batch`."""
        if len(pairs) == 1:
            g, lg = pairs[0]
        else:
            g, lg = (self._dgl.batch(list(side)) for side in zip(*pairs, strict=True))
        return self._model((g, lg, torch.zeros(len(pairs), 3, 3)))


def floor_seconds(prepared: list[Prepared], limit: int) -> float:
    """The matrix products of the compressed forward pass, at the rate measured on 4,096 rows of 256."""
    quotients = [p.quotient for p in prepared]
    operations = sum(
        products(collate([quotients[i] for i in batch])) for batch in by_angles(quotients, limit)
    )
    rows, weight = torch.randn(4096, 256), torch.randn(256, 256)
    for _ in range(20):
        rows @ weight
    rate = 2 * rows.numel() * 256 / statistics.median(seconds(lambda: rows @ weight) for _ in range(200))
    return operations / rate


def products(batch: Batch) -> float:
    """Floating-point operations of the matrix products that the network does on a batch."""
    atoms, bonds, angles = len(batch.numbers), len(batch.length), len(batch.angle_cosine)
    cosines = len(batch.cosine)
    wide = 2 * 256 * 256
    updates = 8 * 4 * atoms + 8 * bonds + 4 * 4 * bonds + 3 * angles + cosines
    embedding = 2 * (bonds * (80 * 64 + 64 * 256) + cosines * (40 * 64 + 64 * 256))
    return wide * updates + embedding


def sample(count: int, seed: int, most_atoms: int | None = None) -> list[Structure]:
    """Structures drawn at random from the raw `megnet` file, from those of at most so many atoms."""
    folder = os.environ.get("STRATA_RAW")
    if not folder:
        sys.exit("set STRATA_RAW to the folder that holds megnet.json.zip")
    records = read_json(Path(folder) / "megnet.json.zip")
    if most_atoms is not None:
        records = [record for record in records if len(record["atoms"]["elements"]) <= most_atoms]
    chosen = np.random.default_rng(seed).choice(len(records), count, replace=False)
    return [Structure.from_jarvis(records[i]["atoms"]) for i in chosen]


def seconds(step: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def cpu_name() -> str:
    """The processor's name, where Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
