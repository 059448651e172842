"""Had the source model seen the crystals that it is tested on, and does it matter?

    export STRATA_RAW=/path/to/raw/files
    mkdir seen && cd seen
    echo 'datasets: [megnet, dielectric_constant, piezoelectric_tensor, jarvis_3d]' > params.yaml
    echo 'source: {split: "published:0", max_cost: 1000, graph: invariant}' >> params.yaml
    for d in megnet dielectric_constant piezoelectric_tensor jarvis_3d; do strata ingest $d; done
    strata datasets duplicates                             # six minutes: which cells are one crystal
    python ../bench/seen.py ../real                        # where bench/transfer-real.yaml was run

The source model has learned the formation energies of many of these crystals, and nothing else of them. Test
entries of the real run are told apart by whether their crystal, in any setting of its cell, is among the
structures that the source model was trained on. Writes docs/results/tables/seen.csv: test MAE / Base MAE of
the chosen method on either kind, of predictions that were made and looked at before.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import wilcoxon

import featurestore
from core.params import load
from featurestore.tables.log import snapshot
from zoo.training.source import prepare

ROOT = Path(__file__).parents[1]
ENTRY = ["dataset", "property", "entry_id"]


def main(real: Path) -> None:
    """Count, compare and write."""
    training = prepare(load(), "store")
    learned = training.rows.structure_ids[training.examples.train.any(axis=1)]
    print(f"{len(learned):,} structures were learned from")
    entries = featurestore.open("store").sql("SELECT dataset, entry_id, structure_id FROM entries").df()
    group = groups(Path("store/duplicates"))
    seen = {group[name] for name in learned}
    entries["seen"] = [group[name] in seen for name in entries["structure_id"]]
    entries = entries[entries["dataset"] != training.rows.dataset]
    print(entries.groupby("dataset")["seen"].agg(["sum", "count"]))
    table = compare(real, entries)
    table.round(4).to_csv(ROOT / "docs" / "results" / "tables" / "seen.csv", index=False, lineterminator="\n")
    both = table.dropna()
    print(both[["unseen_ratio", "seen_ratio"]].median())
    print(f"p = {wilcoxon(both['unseen_ratio'], both['seen_ratio']).pvalue:.2g} (Wilcoxon, two-sided)")
    print((both[["unseen_ratio", "seen_ratio"]] < 1).sum(), "of", len(both), "below Base")


def groups(folder: Path) -> dict[str, str]:
    """structure_id → the crystal that it is."""
    parts = [pq.read_table(folder / shard.path).to_pandas() for shard in snapshot(folder).shards]
    every = pd.concat(parts)
    return dict(zip(every["structure_id"], every["duplicate_group"], strict=True))


def compare(real: Path, entries: pd.DataFrame) -> pd.DataFrame:
    """One row per target: test entries of either kind, and test MAE / Base MAE on them."""
    store = featurestore.open(real / "store")
    base = store.sql(
        "SELECT dataset, property, avg(value) AS base FROM splits "
        "JOIN targets USING (dataset, property, entry_id) WHERE scheme = 'random' AND seed = 0 "
        "AND part = 'train' GROUP BY ALL"
    ).df()
    points = pd.read_csv(real / "plots" / "parity.csv", dtype={"entry_id": str})
    points = points.merge(base, on=ENTRY[:2]).merge(entries, on=["dataset", "entry_id"])
    points["error"] = (points["predicted"] - points["actual"]).abs()
    points["base_error"] = (points["base"] - points["actual"]).abs()
    rows = []
    for (dataset, prop), own in points.groupby(ENTRY[:2]):
        row = {"dataset": dataset, "property": prop}
        for name, part in (("unseen", own[~own["seen"]]), ("seen", own[own["seen"]])):
            row[f"{name}_entries"] = len(part)
            row[f"{name}_ratio"] = part["error"].mean() / part["base_error"].mean() if len(part) else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
