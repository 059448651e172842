"""A small store whose numbers are known, for everything that comes after `fit`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from core.params import Params, parse
from core.structure import Structure
from featurestore import StoreLayout, TableWriter
from featurestore.tables.schema import ENTRIES, PREDICTIONS, PUBLISHED, RUNS, SPLITS, STRUCTURES, TARGETS
from featurestore.tables.shards import Chunk
from tests.stores import describe
from tests.two_datasets import settings_of

DATASET = "ase_elements"
UNITS = {"bulk_modulus": "GPa", "volume": "Å³/atom"}
N = 60
PARTS = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
# head → what it adds to every target: ridge has the lower validation error, lightgbm the lower test error
ERRORS = {"ridge": {"val": 1.0, "test": 4.0}, "lightgbm": {"val": 2.0, "test": 1.0}}


def name_of(i: int) -> str:
    """Return an entry's id; one of them tries to become markup."""
    return "<script>alert(1)</script>" if i == 55 else f"e{i:02d}"


@dataclass(frozen=True)
class Small:
    """A folder with a store in it, and the settings it was made with."""

    root: Path
    params: Params

    @property
    def store(self) -> Path:
        """Return the store's folder."""
        return self.root / "store"

    @property
    def layout(self) -> StoreLayout:
        """Return the store's layout."""
        return StoreLayout(self.store)

    def put(self, folder: Path, schema: pa.Schema, key: str, rows: list[dict]) -> None:
        """Commit rows to one table."""
        with TableWriter(folder, schema, "test") as writer:
            writer.commit(key, pa.Table.from_pylist(rows, schema=schema))

    def add_run(
        self, run_id: str, prop: str, head: str, predicted, *, val_mae: float, lacks=(), **changes
    ) -> None:
        """Commit one run and what it says of each entry, but of those numbered in `lacks`."""
        predictions = [
            {
                "run_id": run_id,
                "dataset": DATASET,
                "property": prop,
                "entry_id": name_of(i),
                "part": PARTS[i],
                "prediction": float(predicted[i]),
            }
            for i in range(N)
            if i not in lacks
        ]
        run = {
            "run_id": run_id,
            "method": "base" if head == "mean" else "features",
            "head": head,
            "feature_set": None if head == "mean" else "atom_bond_angle_last",
            "dataset": DATASET,
            "property": prop,
            "unit": UNITS[prop],
            "scheme": "random",
            "seed": 0,
            "fold": 0,
            "source_model": "alignn_mp_eform",
            "extraction_id": "f" * 16,
            "n_train": 40,
            "n_val": 10,
            "n_test": 10,
            "train_mae": 0.5,
            "val_mae": val_mae,
            "fit_seconds": 0.25,
            "label": "demo" if head == "lightgbm" else None,
            "settings": "{}",
            "versions": '{"numpy": "2.0"}',
            "model_path": None,
            "created_at": datetime(2024, 1, 1, tzinfo=UTC),
            **changes,
        }
        self.put(self.layout.predictions(DATASET), PREDICTIONS, run_id, predictions)
        self.put(self.layout.runs(DATASET), RUNS, run_id, [run])

    def add_forest(self, prop: str, shift: float) -> None:
        """Commit the forest by composition of a property, whose every error is `shift`."""
        predicted = targets_of(prop) + shift
        self.add_run(
            f"{prop}-forest",
            prop,
            "forest",
            predicted,
            val_mae=abs(shift),
            method="composition",
            source_model="magpie",
            feature_set="all",
        )


def targets_of(prop: str) -> np.ndarray:
    """Return the 60 targets of a property."""
    return np.arange(N, dtype=float) * (2.0 if prop == "volume" else 1.0)


@pytest.fixture
def small(tmp_path) -> Small:
    """Two properties; for each Base, and two heads of which the worse on test is the better on validation."""
    made = Small(tmp_path, parse({"datasets": [DATASET], "evaluate": {"bootstrap": 200}}))
    ids = [f"{i:064x}" for i in range(N)]
    lattice = np.eye(3).ravel() * 4
    structures = [
        {
            "structure_id": ids[i],
            "formula": "Al",
            "n_atoms": 1,
            "volume": 64.0,
            "lattice": lattice.tolist(),
            "numbers": [13],
            "frac_coords": [0.0, 0.0, 0.0],
        }
        for i in range(N)
    ]
    entries = [
        {"dataset": DATASET, "entry_id": name_of(i), "structure_id": ids[i], "position": i} for i in range(N)
    ]
    made.put(made.layout.structures(DATASET), STRUCTURES, "all", structures)
    made.put(made.layout.entries(DATASET), ENTRIES, "all", entries)
    targets = [
        {
            "dataset": DATASET,
            "property": prop,
            "entry_id": name_of(i),
            "structure_id": ids[i],
            "value": value,
            "unit": unit,
        }
        for prop, unit in UNITS.items()
        for i, value in enumerate(targets_of(prop))
    ]
    made.put(made.layout.targets(DATASET), TARGETS, "all", targets)
    for prop in UNITS:
        y = targets_of(prop)
        made.add_run(f"{prop}-mean", prop, "mean", np.full(N, y[:40].mean()), val_mae=20.0)
        for head, errors in ERRORS.items():
            shift = np.array([errors.get(part, 0.0) for part in PARTS])
            made.add_run(f"{prop}-{head}", prop, head, y + shift, val_mae=errors["val"])
    describe(made.store, "f" * 16, "alignn_mp_eform")
    (tmp_path / "params.yaml").write_text("datasets: [ase_elements]\n", encoding="utf-8")
    return made


def crystal(i: int, other_cell: bool = False) -> dict:
    """Return a row of the table structures: a crystal of element i + 1, in one cell or in another."""
    structure = Structure(4 * np.eye(3), [i + 1], [[0.0, 0.0, 0.0]])
    if other_cell:
        structure = next(iter(settings_of(structure, np.random.default_rng(i))))
    return {
        "structure_id": structure.structure_id,
        "formula": structure.formula,
        "n_atoms": structure.n_atoms,
        "volume": structure.volume,
        "lattice": structure.lattice.ravel().tolist(),
        "numbers": structure.numbers.tolist(),
        "frac_coords": structure.frac_coords.ravel().tolist(),
    }


# Test entry → the entry of another part that is the same crystal, in another cell.
TWINS = {50: 0, 52: 40}
# Entry of megnet → its part of the published split, and the test entry that is the same crystal.
MEGNET = {"mp-1": ("train", 51), "mp-2": ("test", 53), "mp-3": ("val", 70)}


@pytest.fixture
def leaky(small) -> Small:
    """The small store with a crystal per entry, a split, and a chosen run with errors 1, …, 10 on volume.

    Test entry 50 is a crystal of the training part, 52 one of the validation part.
    """
    rows = [crystal(TWINS.get(i, i), i in TWINS) for i in range(N)]
    ids = [row["structure_id"] for row in rows]
    entries = [
        {"dataset": DATASET, "entry_id": name_of(i), "structure_id": ids[i], "position": i} for i in range(N)
    ]
    for folder, schema, content in (
        (small.layout.structures(DATASET), STRUCTURES, rows),
        (small.layout.entries(DATASET), ENTRIES, entries),
    ):
        with TableWriter(folder, schema, "test") as writer:
            writer.replace({"crystals": Chunk(pa.Table.from_pylist(content, schema))})
    split = [
        {"scheme": "random", "seed": 0, "dataset": DATASET, "property": prop, "fold": 0}
        | {"entry_id": name_of(i), "part": PARTS[i]}
        for prop in UNITS
        for i in range(N)
    ]
    small.put(small.layout.splits(DATASET), SPLITS, "random", split)
    errors = np.concatenate([np.zeros(50), np.arange(1.0, 11.0)])
    small.add_run("leaky", "volume", "ridge", targets_of("volume") + errors, val_mae=0.5)
    return small


def add_megnet(small: Small) -> None:
    """Add the dataset that the embedded source model was trained on, with its published split."""
    rows = {name: crystal(i, other_cell=True) for name, (_, i) in MEGNET.items()}
    places = {name: {"dataset": "megnet", "entry_id": name} for name in rows}
    about = {"property": "formation_energy", "value": -1.0, "unit": "eV/atom"}
    ids = {name: {"structure_id": row["structure_id"]} for name, row in rows.items()}
    small.put(small.layout.structures("megnet"), STRUCTURES, "all", list(rows.values()))
    entries = [places[name] | ids[name] | {"position": k} for k, name in enumerate(rows)]
    small.put(small.layout.entries("megnet"), ENTRIES, "all", entries)
    targets = [places[name] | ids[name] | about for name in rows]
    small.put(small.layout.targets("megnet"), TARGETS, "all", targets)
    parts = [places[name] | {"property": "formation_energy", "part": MEGNET[name][0]} for name in rows]
    with TableWriter(small.layout.table("published", "megnet"), PUBLISHED, "ingest") as writer:
        facts = {"property": "formation_energy", "file_sha256": "0" * 64}
        writer.commit("formation_energy", pa.Table.from_pylist(parts, PUBLISHED), provenance=facts)
