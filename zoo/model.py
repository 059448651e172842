"""A fitted model, ready to be asked: heads or network, domain, intervals and what it learned from.

It comes out of a store (zoo/stored.py) or out of a bundle (zoo/bundle.py), and answers the same either way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from core.errors import StrataError
from core.params import Extract, Ingest
from core.structure import SYMBOLS, Structure, reduced_formula
from featurestore.columns import OwnColumns
from featurestore.query.feature_sets import Block
from featurestore.tables.schema import Checkpoint
from heads.averaging import combined
from heads.calibration import Calibration, spread_of
from heads.classifier import Classifier
from heads.domain import Place
from heads.intervals import LEVEL
from heads.on_log import Predictor
from zoo.extraction import extraction_id
from zoo.hub import load_card

if TYPE_CHECKING:
    import pandas as pd

    from zoo.training.trained import TrainedModel

_property = property  # a card has a field of that name
NETWORK = "network"  # the source of the vectors of a network of the target's own
NEIGHBOURS = 3
Vectors = Mapping[str, np.ndarray]  # by source model (n, width): all its checkpoints; NaN: none of that row


@dataclass(frozen=True, slots=True)
class Reads:
    """A source model as a model reads it: the extraction that it learned from, and all checkpoints.

    columns: of a user's own table in place of a network. sees_positions: tells crystals of one composition
    apart. folder: of a bundle that brings the source model along; else it is the one of that name here.
    """

    name: str
    extraction_id: str
    checkpoints: tuple[Checkpoint, ...]
    columns: tuple[str, ...] = ()
    sees_positions: bool = True
    folder: Path | None = None

    @property
    def width(self) -> int:
        """How many numbers a structure has."""
        return sum(checkpoint.width for checkpoint in self.checkpoints)

    def start(self, checkpoint: str) -> int:
        """Return the first column of a checkpoint."""
        at = 0
        for one in self.checkpoints:
            if one.name == checkpoint:
                return at
            at += one.width
        raise StrataError(f"{self.name} has no checkpoint {checkpoint!r}")


@dataclass(frozen=True, slots=True)
class Member:
    """A head and the columns that it reads; of a committee with a weight."""

    head: Predictor
    blocks: tuple[Block, ...]
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a model. Errors are in `unit` and of the test part; `rows` is what it learned from."""

    dataset: str
    property: str
    unit: str
    run_id: str
    sha256: str  # of the list of its files' hashes
    head: str
    label: str
    reads: str  # feature set, with its source models
    split: str
    rows: int
    classes: tuple[str, ...] = ()
    method: str = "features"
    test_mae: float | None = None
    test_mae_sd: float | None = None
    base_test_mae: float | None = None
    balanced_accuracy: float | None = None
    repetitions: int = 1
    licence: str = ""
    citation: str = ""
    doi: str = ""
    caution: str = ""

    @_property
    def name(self) -> str:
        """Its dataset and property, such as `emt_alloys/volume`."""
        return f"{self.dataset}/{self.property}"


@dataclass(frozen=True, slots=True)
class Asked:
    """Structures that are asked about: names, reduced formulas, atomic numbers and ids, (n,) each."""

    names: tuple[str, ...]
    formulas: tuple[str, ...]
    elements: tuple[tuple[int, ...], ...]
    structure_ids: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str], structures: Sequence[Structure]) -> "Asked":
        """Describe structures."""
        return cls(
            tuple(names),
            tuple(reduced_formula(s.numbers) for s in structures),
            tuple(tuple(np.unique(s.numbers).tolist()) for s in structures),
            tuple(s.structure_id for s in structures),
        )


@dataclass(frozen=True, eq=False)
class Model:
    """What predicts one property.

    settings, limits: how source models are run, what is refused. examples: some structures of the training
    rows, for the golden predictions of a bundle.
    """

    card: Card
    sources: Mapping[str, Reads]
    members: tuple[Member, ...]
    calibration: Calibration
    network: "TrainedModel | None" = None
    settings: Extract = field(default_factory=Extract)
    limits: Ingest = field(default_factory=Ingest)
    examples: tuple[Structure, ...] = ()

    def __repr__(self) -> str:
        what = f"{self.card.head} on {self.card.reads or 'a network of its own'}"
        return f"Model({self.card.name!r}, {what}, {self.card.rows:,} training rows)"

    def check_sources(self) -> None:
        """Raise `StrataError` where a source model here gives other vectors than this model learned from."""
        for name, reads in self.sources.items():
            if name == NETWORK or reads.columns:
                continue
            here = extraction_id(load_card(name, reads.folder), self.settings.precision)
            if here != reads.extraction_id:
                raise StrataError(
                    f"the model of {self.card.name} learned from extraction {reads.extraction_id}; {name} "
                    f"with the present settings gives {here}: run dvc repro, then predict again"
                )

    def values(self, vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
        """Return what is predicted of n structures, and how far a committee's members lie apart, (n,) each.

        NaN where no member has a vector. Of a property of classes the first is (n, classes), probabilities.
        """
        if self.card.classes:
            return self._probabilities(vectors), np.zeros(len(next(iter(vectors.values()))))
        read: dict[tuple[Block, ...], np.ndarray] = {}  # several members read the same columns
        for member in self.members:
            if member.blocks not in read:
                read[member.blocks] = self.columns_of(member.blocks, vectors)
        table = np.column_stack([_of_member(member, read[member.blocks]) for member in self.members])
        weights = np.array([member.weight for member in self.members])
        if table.shape[1] == 1:
            return table[:, 0], np.zeros(len(table))
        values, _ = combined(table, weights)
        return values, spread_of(table, values, weights)

    def columns_of(self, blocks: Sequence[Block], vectors: Vectors) -> np.ndarray:
        """Put the columns of blocks side by side: (n, d) float32."""
        parts = []
        for block in blocks:
            start = self.sources[block.source].start(block.checkpoint)
            parts.append(vectors[block.source][:, start : start + block.stop - block.start])
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)

    def _probabilities(self, vectors: Vectors) -> np.ndarray:
        (member,) = self.members
        X = self.columns_of(member.blocks, vectors)
        usable = np.isfinite(X).all(axis=1)
        values = np.full((len(X), len(self.card.classes)), np.nan)
        if usable.any():
            values[usable] = cast("Classifier", member.head).predict_proba(X[usable], len(self.card.classes))
        return values

    def frame(
        self,
        asked: Asked,
        vectors: Vectors,
        level: float = LEVEL,
        predicted: np.ndarray | None = None,
    ) -> "pd.DataFrame":
        """Answer of n structures with vectors: one row per structure, with the columns of docs/predict.md.

        predicted (n,): what a network of the target's own says, where that is the model.
        """
        if predicted is None:
            predicted, spread = self.values(vectors)
        else:
            spread = np.zeros(len(predicted))
        place = self.calibration.domain.place(vectors, asked.elements)
        return _frame(self, asked, vectors, predicted, spread, place, level)

    def facts(self) -> dict[str, Any]:
        """Return the card as plain values, with the source models, the domain and what was seen there."""
        return asdict(self.card) | {
            "source_models": {name: reads.extraction_id for name, reads in self.sources.items()},
            "members": [[member.name, round(member.weight, 4)] for member in self.members],
            "seen": {name: asdict(seen) for name, seen in self.calibration.seen.items()},
        }


def _of_member(member: Member, X: np.ndarray) -> np.ndarray:
    """Return what a member says of each row (n,); NaN of those without a vector."""
    usable = np.isfinite(X).all(axis=1)
    values = np.full(len(X), np.nan)
    if usable.any():
        values[usable] = member.head.predict(X if usable.all() else X[usable])
    return values


def own_vectors(own: OwnColumns, names: Sequence[str]) -> tuple[np.ndarray, list[str | None]]:
    """Return (n, d) of a user's own columns for structures by name, and why one has none."""
    found = np.full((len(names), len(own.names)), np.nan, np.float32)
    errors: list[str | None] = [None] * len(names)
    for i, name in enumerate(names):
        at = own.place.get(name)
        if at is None:
            errors[i] = f"no_columns: {name} has no row in the table of columns"
        elif lacks := own.lacking(at):
            errors[i] = f"missing_value: {name} has no {', '.join(lacks)} in the table of columns"
        else:
            found[i] = own.values[at]
    return found, errors


def _frame(
    model: Model,
    asked: Asked,
    vectors: Vectors,
    predicted: np.ndarray,
    spread: np.ndarray,
    place: Place,
    level: float,
) -> "pd.DataFrame":
    import pandas as pd

    card, calibration = model.card, model.calibration
    n = len(asked.names)
    columns: dict[str, Any] = {"structure": _texts(asked.names), "formula": _texts(asked.formulas)}
    if card.classes:
        order = np.argsort(-np.nan_to_num(predicted, nan=-1), axis=1, kind="stable")[:, 0]
        columns["value"] = _texts(card.classes[i] for i in order)
        columns["probability"] = np.take_along_axis(predicted, order[:, None], 1)[:, 0]
        columns |= {f"p_{name}": predicted[:, i] for i, name in enumerate(card.classes)}
    else:
        columns["value"] = predicted
    columns["unit"] = card.unit
    usable = np.isfinite(predicted if predicted.ndim == 1 else predicted[:, 0])
    if calibration.intervals is not None:
        found = calibration.intervals(place, np.where(usable, predicted, 1.0), spread, level)
        for name, values in (("low", found.low), ("high", found.high), ("expected_error", found.error)):
            columns[name] = np.where(usable, values, np.nan)
        columns["level"] = found.level
    verdicts = place.verdicts
    columns["domain"] = verdicts
    columns["percentile"] = place.percentile.round(1)
    columns["new_elements"] = _texts(map(_symbols, place.new))
    seen = [calibration.seen.get(str(verdict)) for verdict in verdicts]
    columns["error_seen"] = np.array([np.nan if s is None or s.mae is None else s.mae for s in seen], float)
    columns["rows_seen"] = np.array([0 if s is None else s.rows for s in seen], np.int64)
    columns["in_training"] = _texts(known_entries(model, asked, vectors))
    rows = calibration.rows
    known = min(place.near.shape[1], len(rows))  # none where the training data stayed at home
    for k in range(NEIGHBOURS):
        if k >= known:
            columns |= {f"near_{k + 1}": "", f"near_{k + 1}_formula": ""}
            columns |= {
                f"near_{k + 1}_value": "" if card.classes else np.nan,
                f"near_{k + 1}_distance": np.nan,
            }
            continue
        near = [rows[row] for row in place.near[:, k]]
        columns[f"near_{k + 1}"] = _texts(row.entry_id for row in near)
        columns[f"near_{k + 1}_formula"] = _texts(row.formula for row in near)
        columns[f"near_{k + 1}_value"] = (
            _texts(card.classes[int(row.value)] for row in near)
            if card.classes
            else np.array([row.value for row in near], float)
        )
        columns[f"near_{k + 1}_distance"] = place.far[:, k]
    columns |= {"training_rows": card.rows, "model": card.name, "model_sha256": card.sha256}
    frame = pd.DataFrame(columns, index=range(n))
    frame.attrs = {"unit": card.unit}
    return frame


def known_entries(model: Model, asked: Asked, vectors: Vectors) -> list[str]:
    """Name the training entries that a structure is: the same cell, or the same crystal to a network."""
    rows = model.calibration.rows
    by_formula: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_formula.setdefault(row.formula, []).append(i)
    found = [""] * len(asked.formulas)
    some = [i for i, formula in enumerate(asked.formulas) if formula in by_formula]
    candidates = [by_formula[asked.formulas[i]] for i in some]
    positions = [name for name, reads in model.sources.items() if reads.sees_positions]
    same = (
        model.calibration.domain.same({name: vectors[name][some] for name in positions}, candidates)
        if positions and some
        else [[] for _ in candidates]
    )
    for i, places, near in zip(some, candidates, same, strict=True):
        itself = [row for row in places if rows[row].structure_id == asked.structure_ids[i]]
        found[i] = ", ".join(rows[row].entry_id for row in sorted({*itself, *near}))
    return found


def _texts(values: Iterable[str]) -> np.ndarray:
    """Return texts as a column that stays one of texts where there are none."""
    return np.array(list(values), object)


def _symbols(numbers: Sequence[int]) -> str:
    return " ".join(SYMBOLS[z] if z < len(SYMBOLS) else f"Z{z}" for z in numbers)
