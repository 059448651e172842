"""Small models for the tests of bundles: real source models, strained metals, heads fitted at once."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from core.checksums import write_checksums
from core.params import Extract
from core.structure import Structure
from featurestore.query.feature_sets import Block
from heads import Ridge
from heads.calibration import Calibration, Seen, TrainingRow
from heads.domain import Domain
from heads.intervals import Intervals
from heads.on_log import OnLog
from tests.training import metals
from zoo.extraction import extraction_id
from zoo.hub import backbone_of, load_card
from zoo.model import Card, Member, Model, Reads
from zoo.predict import Read, Reader, Reading

QUICK = Extract(device="cpu", threads=1, workers=0)
HEX = "ab" * 32


def strained(strains: int = 6) -> list[Structure]:
    """Return every metal, each at several volumes."""
    return [
        Structure((1 + 0.01 * k) * one.lattice, one.numbers, one.frac_coords)
        for one in metals()
        for k in range(strains)
    ]


def card_of(rows: int, **more: Any) -> Card:
    """Return the card of a model of atomic volumes."""
    facts = {
        "dataset": "metals",
        "property": "volume",
        "unit": "Å³/atom",
        "run_id": HEX,
        "sha256": HEX,
        "head": "ridge",
        "label": "",
        "reads": "magpie/all",
        "split": "random-0-0",
        "rows": rows,
        "test_mae": 0.5,
        "base_test_mae": 5.0,
        "licence": "CC BY 4.0",
        "citation": "A. Author, Journal 1, 1 (2020)",
        "doi": "10.1000/1",
    }
    return Card(**(facts | more))


def made_model(
    *sources: str,
    heads: tuple[Any, ...] | None = None,
    strains: int = 6,
    folder: Path | None = None,
    **more: Any,
) -> Model:
    """Fit a model of the volume an atom (Å³) of strained metals on source models.

    heads: fitted here, all on everything; a ridge by default. more: of the card.
    """
    structures = strained(strains)
    reads = {name: _reads(name, folder) for name in sources}
    reader = Reader(Reading(reads, QUICK, Model.__dataclass_fields__["limits"].default_factory()))
    names = [f"m-{i}" for i in range(len(structures))]
    batch = reader.run([Read("", name, one) for name, one in zip(names, structures, strict=True)])
    assert not batch.errors
    blocks = tuple(
        Block(name, c.name, c.kind, c.depth, 0, c.width)
        for name, one in reads.items()
        for c in one.checkpoints
    )
    empty = Model(card_of(0), reads, (), None)
    X = empty.columns_of(blocks, batch.vectors)
    y = np.array([one.volume / one.n_atoms for one in structures])
    classes = more.get("classes", ())
    values = np.digitize(y, np.quantile(y, np.linspace(0, 1, len(classes) + 1)[1:-1])) if classes else y
    members = tuple(
        Member(head.fit(X, values), blocks, weight, f"{type(head).__name__.lower()} on all")
        for head, weight in zip(heads or (Ridge(),), (0.75, 0.25), strict=False)
    )
    groups = np.arange(len(y)) // strains
    domain = Domain.learn(batch.vectors, groups, batch.asked.elements)
    noise = 1 + 0.05 * np.random.default_rng(0).standard_normal(len(y))
    log = isinstance(members[0].head, OnLog)
    intervals = None
    if not classes:
        intervals = Intervals.learn(
            domain.own, y * noise, np.zeros(len(y)), y, y, np.arange(len(y)), groups, log=log
        )
    rows = tuple(
        TrainingRow(*row)
        for row in zip(names, batch.asked.structure_ids, batch.asked.formulas, values.tolist(), strict=True)
    )
    calibration = Calibration(domain, intervals, rows, {} if classes else {"inside": Seen(50, 0.4)})
    return Model(
        card_of(len(y), reads="+".join(f"{name}/all" for name in sources), **more),
        reads,
        members,
        calibration,
        settings=QUICK,
        examples=tuple(structures[:: 2 * strains][:10]),
    )


def _reads(name: str, folder: Path | None) -> Reads:
    card = load_card(name, folder)
    backbone = backbone_of(card)
    return Reads(
        name,
        extraction_id(card),
        tuple(backbone.checkpoints),
        sees_positions=type(backbone).needs_positions,
        folder=folder,
    )


def copied(bundle: Path, target: Path) -> Path:
    """Return a copy of a bundle, to be changed."""
    shutil.copytree(bundle, target)
    return target


def sealed(bundle: Path) -> Path:
    """List the hashes anew, as whoever changed it would."""
    for folder in [path.parent for path in bundle.rglob("SHA256SUMS") if path.parent != bundle]:
        write_checksums(folder)
    write_checksums(bundle)
    return bundle


def rewritten(path: Path, change: Any) -> None:
    """Change the facts of a JSON file: `change` is given them, and alters them or returns others."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(facts) or facts), encoding="utf-8")
