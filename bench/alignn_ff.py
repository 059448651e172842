"""ALIGNN-FF: our forward pass against its own package's model through DGL, on the same graphs.

    STRATA_RAW=... python bench/alignn_ff.py --structures 150 [--json]
    STRATA_RAW=... python bench/alignn_ff.py --agreement     # its output beside total_energy, on three graphs

Needs the weights (`strata zoo fetch alignn_ff`) and the extra dgl. One structure at a time in one process,
on the same threads, the two in turns; medians over repeats. Graphs are made before, by our builder, for both;
for ours the search for symmetry classes is therefore told apart, and the batches that an extraction runs are
given beside.
"""

import argparse
import json
import os
import platform
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
from zoo.backbones.alignn.backbone import ALIGNN
from zoo.backbones.alignn.dgl import DglNetwork
from zoo.backbones.alignn.graph import build, line_graph
from zoo.backbones.engine import Engine
from zoo.hub import backbone_of, load_source

FILE = "jdft_3d-12-12-2022.json.zip"
WARM_UPS = 3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--structures", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=1, help="of either side; an extraction's worker has one"
    )
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of this process, for a busy machine"
    )
    parser.add_argument("--agreement", action="store_true", help="instead: its output beside total_energy")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = agreement() if options.agreement else measure(options.structures, options.repeats, options.clock)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:32} {value:,.4f}" if isinstance(value, float) else f"{name:32} {value}")


def measure(count: int, repeats: int, clock: str) -> dict[str, float | int | str]:
    """Time the two models and what ours does besides; milliseconds are per structure."""
    structures = sample(count)
    source = load_source("alignn_ff")
    packed, plain = (
        Engine(backbone_of(source.card, {"alignn": {"compression": on}}), source.state, Extract(device="cpu"))
        for on in (True, False)
    )
    backbone = packed.backbone
    theirs = DglNetwork(source.state, backbone.architecture, backbone.graph)
    prepared, unpacked = packed.prepare(structures), plain.prepare(structures)
    graphs = [theirs.graphs(p) for p in prepared]

    @torch.inference_mode()
    def run_theirs(pairs: list[tuple]) -> list[float]:
        return [float(theirs.model((g, lg, torch.zeros(1, 3, 3)))["out"]) for g, lg in pairs]

    ways: dict[str, Callable[[], object]] = {
        "alignn_model": lambda: run_theirs(graphs),
        "ours_model": lambda: [packed.run([p]) for p in prepared],
        "ours_model_plain": lambda: [plain.run([p]) for p in unpacked],
        "ours_model_batched": lambda: packed.run(prepared),
        "graph": lambda: [line_graph(build(s, backbone.graph), backbone.graph) for s in structures],
        "graph_and_classes": lambda: packed.prepare(structures),
    }
    run_theirs(graphs[:WARM_UPS])
    for engine, some in ((packed, prepared), (plain, unpacked)):
        engine.run(some[:WARM_UPS])
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):  # in turns, so that a neighbour's load falls on all
        for name, way in ways.items():
            times[name].append(seconds(way, CLOCKS[clock]) / count * 1e3)
    ms = {name: statistics.median(found) for name, found in times.items()}
    classes = ms["graph_and_classes"] - ms["graph"]
    reference = np.array(run_theirs(graphs))
    ours = packed.run(prepared)
    return {
        "ratio": ms["alignn_model"] / ms["ours_model"],
        "ratio_with_search_for_classes": ms["alignn_model"] / (ms["ours_model"] + classes),
        "ratio_without_classes": ms["alignn_model"] / ms["ours_model_plain"],
        "ratio_batched": ms["alignn_model"] / ms["ours_model_batched"],
        **{f"ms_{name}": value for name, value in ms.items()},
        "ms_search_for_classes": classes,
        "angles_left": float(ours.counts["n_distinct_angles"].sum() / ours.counts["n_angles"].sum()),
        "mean_bonds": float(ours.counts["n_bonds"].mean()),
        "mean_angles": float(ours.counts["n_angles"].mean()),
        "prediction_difference": float(np.abs(ours.prediction - reference).max()),
        "structures": count,
        "repeats": repeats,
        "clock": clock,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "load_before": os.getloadavg()[0],
    }


def agreement() -> dict[str, float | int | str]:
    """Compare its output with the total energies of the raw file, in eV/atom, on three kinds of graphs."""
    found = [r for r in records() if r["optb88vdw_total_energy"] != "na"]
    structures = [Structure.from_jarvis(record["atoms"]) for record in found]
    energy = np.array([record["optb88vdw_total_energy"] for record in found], float)
    source = load_source("alignn_ff")
    own = source.card.graph
    rules = {
        "own": own,
        "counted_once": own.model_copy(update={"chosen_twice": "once"}),
        "whole_shells": own.model_copy(update={"shell_tolerance": 1e-4, "self_image": "once"}),
    }
    result: dict[str, float | int | str] = {"structures": len(found)}
    for name, rule in rules.items():
        engine = Engine(ALIGNN(source.card.architecture, rule), source.state, Extract(device="cpu"))
        start = time.perf_counter()
        error = engine(structures, ()).prediction - energy
        result |= {
            f"{name}_correlation": float(np.corrcoef(error + energy, energy)[0, 1]),
            f"{name}_median_error": float(np.median(np.abs(error))),
            f"{name}_mean_error": float(np.abs(error).mean()),
            f"{name}_median_difference": float(np.median(error)),
            f"{name}_structures_per_s": len(found) / (time.perf_counter() - start),
        }
    return result


def sample(count: int) -> list[Structure]:
    """Structures drawn at random from the raw `jarvis_3d` file."""
    found = records()
    chosen = np.random.default_rng(0).choice(len(found), count, replace=False)
    return [Structure.from_jarvis(found[i]["atoms"]) for i in chosen]


def records() -> list[dict]:
    """Read the raw `jarvis_3d` file."""
    folder = os.environ.get("STRATA_RAW")
    if not folder:
        sys.exit(f"set STRATA_RAW to the folder that holds {FILE}")
    return read_json(Path(folder) / FILE)


def seconds(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    step()
    return clock() - start


if __name__ == "__main__":
    main()
