"""A map of structures that were predicted, among those that the model learned from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.composition import Composition
from core.errors import StrataError
from core.structure import Structure
from evaluation.explorer.build import SHARES, about_model
from evaluation.explorer.collect import columns_of, formulas_of
from evaluation.explorer.judged import DOMAIN, WIDTH
from evaluation.explorer.shares import shares_of
from evaluation.explorer.structure_map import PREDICTIONS, PROPERTIES, VECTORS, Column, Crystals, StructureMap
from featurestore.query.store import open_store
from heads.calibration import TrainingRow
from heads.domain import VERDICTS
from zoo.load import LoadedModel
from zoo.model import NEIGHBOURS
from zoo.predict import Batch

if TYPE_CHECKING:
    import pandas as pd

Lookup = Callable[[Sequence[str]], Mapping[str, Structure]]  # structure_ids → the structures that are known
_REJECTS = 1000  # that are named


def known_structures(store: Path) -> Lookup:
    """Return what finds crystals in a store by their ids; nothing where there is no store."""

    def lookup(ids: Sequence[str]) -> dict[str, Structure]:
        if not store.is_dir():
            return {}
        with open_store(store, files=False) as opened:
            query = "SELECT structure_id FROM structures WHERE structure_id IN (SELECT unnest(?::VARCHAR[]))"
            there = [row[0] for row in opened.sql(query, [list(ids)]).fetchall()]
            found = zip(there, opened.structures(there), strict=True)
            return {name: one for name, one in found if isinstance(one, Structure)}

    return lookup


class PredictedMap:
    """Collects what was predicted, batch by batch; of the vectors only their projections stay."""

    def __init__(self, model: LoadedModel, level: float) -> None:
        self._model, self._level = model, level
        self._frames: list[pd.DataFrame] = []
        self._structures: list[Structure] = []
        self._points: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self._spaces}
        self._rejects: list[str] = []

    def add(self, batch: Batch, frame: "pd.DataFrame") -> None:
        """Take a batch that was read, and what the model says of it."""
        good = (frame["error"] == "").to_numpy()
        known = [i for i, one in enumerate(batch.read) if one.structure is not None]
        place = {i: k for k, i in enumerate(known)}  # vectors are of what could be read
        for i, ok in enumerate(good):
            structure = batch.read[i].structure
            if ok and structure is not None:
                self._structures.append(structure)
            elif len(self._rejects) < _REJECTS:
                where = batch.read[i].file or batch.read[i].name
                why = str(frame["error"].iloc[i])
                self._rejects.append(why if where in why else f"{where}: {why}")
        rows = [place[i] for i, ok in enumerate(good) if ok]
        for name, points in self._points.items():
            points.append(
                _two(self._model.calibration.domain.spaces[name].project(batch.vectors[name][rows]))
            )
        self._frames.append(frame[good])

    def map(self, lookup: Lookup = lambda _: {}, *, told: bool = False) -> StructureMap | None:
        """Return the map, None where nothing was predicted: training rows below, the others above them.

        lookup: finds crystals of training rows.
        """
        import pandas as pd

        frame = pd.concat(self._frames, ignore_index=True) if self._frames else pd.DataFrame()
        if not len(frame):
            return None
        model, n = self._model, len(frame)
        card, rows = model.card, model.calibration.rows
        crystals = _with_training(self._structures, rows, lookup)
        level = float(frame["level"].iloc[0]) if "level" in frame else self._level
        which = f"the first {min(n, SHARES):,} that were predicted"
        notes = [f"{n:,} structures were predicted, among {len(rows):,} that the model learned from."]
        notes += [about_model(model, level)] if not card.classes else []
        columns = (*self._projections(), *_columns(card.property, card.unit, frame, rows, card.classes))
        return StructureMap(
            title=f"{card.property} of {n:,} structures, after {card.dataset}",
            names=(*(row.entry_id for row in rows), *frame["structure"].astype(str)),
            entries=(*(f"{card.dataset}/{row.entry_id}" for row in rows), *frame["file"].astype(str)),
            formulas=formulas_of(crystals),
            crystals=crystals,
            columns=(*columns, *columns_of(crystals, crystals.volumes())),
            x=columns[0].name,
            y=columns[1].name,
            colour="role",
            near=_near(frame, rows),
            far=_far(frame, len(rows)),
            near_by="the model's domain, in units of its training rows' own distances",
            shares=shares_of(model, crystals, range(len(rows), len(rows) + min(n, SHARES)), which, told=told),
            notes=tuple(notes),
            rejects=tuple(self._rejects),
            listed=_listed(card.property, columns),
        )

    @property
    def _spaces(self) -> list[str]:
        return list(self._model.calibration.domain.spaces)

    def _projections(self) -> list[Column]:
        columns = []
        for name, parts in self._points.items():
            own = self._model.calibration.domain.spaces[name]
            trained = _two(own.points)[: len(self._model.calibration.rows)]
            values = np.concatenate([trained, *parts])
            about = "Principal component {} of the training rows' vectors by {}, which are standardised."
            columns += [
                Column(f"PCA {i + 1} of {name}", values[:, i], "", VECTORS, about.format(i + 1, name))
                for i in range(2)
            ]
        return columns


def _two(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first two components (n, 2); zeros where there are fewer."""
    found = np.zeros((len(points), 2))
    found[:, : min(2, points.shape[1])] = points[:, :2]
    return found


def _with_training(structures: Sequence[Structure], rows: Sequence[TrainingRow], lookup: Lookup) -> Crystals:
    """Return the training rows' crystals, a composition where none is known, then the predicted ones."""
    known = lookup([row.structure_id for row in rows]) if rows else {}
    return Crystals.of([*(known.get(row.structure_id) or _composition(row) for row in rows), *structures])


def _composition(row: TrainingRow) -> Composition | None:
    try:
        return Composition.from_formula(row.formula)
    except StrataError:  # a bundle may say anything
        return None


def _columns(
    prop: str, unit: str, frame: "pd.DataFrame", rows: Sequence[TrainingRow], classes: Sequence[str]
) -> list[Column]:
    m = len(rows)

    def padded(name: str) -> NDArray[np.float64]:
        return np.concatenate([np.full(m, np.nan), frame[name].to_numpy(float)])

    def words(name: str, title: str, about: str) -> Column:
        return Column.of_words(title, [*([None] * m), *frame[name].astype(str)], PREDICTIONS, about)

    measured = np.array([row.value for row in rows] + [np.nan] * len(frame), float)
    about = "Value of the training rows."
    found = [
        Column.of_words(
            "role",
            ["training"] * m + ["predicted"] * len(frame),
            PREDICTIONS,
            "Whether the structure was predicted here, or the model learned from it.",
        )
    ]
    if classes:
        found += [
            words("value", f"{prop}, prediction", "The class of the highest probability."),
            Column(f"{prop}, probability", padded("probability"), "", PREDICTIONS, "Of that class."),
            Column(prop, measured, group=PROPERTIES, about=about, labels=tuple(classes)),
        ]
    else:
        found += [
            Column(f"{prop}, prediction", padded("value"), unit, PREDICTIONS, "Predicted.", parity=prop),
            Column(prop, measured, unit, PROPERTIES, about, parity=prop),
        ]
    if "low" in frame:
        low, high = padded("low"), padded("high")
        found += [
            Column(f"{prop}, low end", low, unit, PREDICTIONS, "Of the interval."),
            Column(f"{prop}, high end", high, unit, PREDICTIONS, "Of the interval."),
            Column(f"{prop}, {WIDTH}", high - low, unit, PREDICTIONS, "High minus low end."),
        ]
    verdicts = [VERDICTS.index(word) for word in frame["domain"]]
    verdict = np.array([*([np.nan] * m), *verdicts], float)
    return [
        *found,
        Column(DOMAIN, verdict, "", PREDICTIONS, "Inside of what was learned from, or not.", labels=VERDICTS),
        Column(f"{DOMAIN} percentile", padded("percentile"), "%", PREDICTIONS, "Training rows less remote."),
        words("in_training", "in training", "The training entry that this structure is."),
        words("near_1", "nearest in training", "The nearest training entry."),
    ]


def _listed(prop: str, columns: Sequence[Column]) -> tuple[str, ...]:
    wanted = (
        *(
            "role",
            f"{prop}, prediction",
            prop,
            f"{prop}, probability",
            f"{prop}, low end",
            f"{prop}, high end",
        ),
        *(DOMAIN, "nearest in training"),
    )
    there = {column.name for column in columns}
    return tuple(name for name in wanted if name in there)


def _near(frame: "pd.DataFrame", rows: Sequence[TrainingRow]) -> NDArray[np.int32]:
    """Return places (m + n, 3) of the nearest training rows on the map; a training row has none."""
    place: dict[str, int] = {}
    for i, row in enumerate(rows):
        place.setdefault(row.entry_id, i)
    found = np.full((len(frame) + len(rows), NEIGHBOURS), -1, np.int32)
    for k in range(NEIGHBOURS):
        found[len(rows) :, k] = [place.get(str(name), -1) for name in frame[f"near_{k + 1}"]]
    return found


def _far(frame: "pd.DataFrame", m: int) -> NDArray[np.float32]:
    own = frame[[f"near_{k + 1}_distance" for k in range(NEIGHBOURS)]].to_numpy(np.float32)
    return np.concatenate([np.full((m, NEIGHBOURS), np.nan, np.float32), own])
