"""Models by name, with what can be asked of them: a property of this project, or a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import StrataError
from core.model_hub import is_address
from core.params import PARAMS_FILE, Params
from core.params import load as load_params
from featurestore.query.store import FeatureStore, open_store
from heads.intervals import LEVEL
from heads.linear import Linear, combine, weights_of
from zoo.bundle import load_bundle
from zoo.bundle_hub import download
from zoo.explain import Explanation, shares
from zoo.extraction import make_engine
from zoo.model import NETWORK, Model
from zoo.predict import Read, Reader, Reading, predict_structures, read_columns, read_objects
from zoo.screen import TOP, Wanted
from zoo.screen import screen as ranked
from zoo.stored import stored_model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel(Model):
    """A model that can be asked from Python; structures are of ASE, pymatgen, jarvis-tools, or files."""

    def predict(
        self,
        structures: Any,
        names: Sequence[str] | None = None,
        *,
        level: float = LEVEL,
        columns: str | Path | None = None,
    ) -> "pd.DataFrame":
        """Predict one structure or many; one row per structure, with the columns of docs/predict.md.

        One that cannot be used has its reason in the column `error`. level: of the intervals. columns: a
        table of the structures' own columns, for a model that reads some.
        """
        return predict_structures(self, structures, names, level, columns)

    def screen(
        self,
        store: str | Path | FeatureStore = "store",
        *,
        over: Sequence[str],
        minimum: float | None = None,
        maximum: float | None = None,
        lowest: bool = False,
        where: str | None = None,
        inside_only: bool = False,
        level: float = LEVEL,
        top: int | None = TOP,
        save: str | None = None,
    ) -> "pd.DataFrame":
        """Rank the structures of whole datasets, and return the best `top` (None: all), one row each.

        Ranked by the chance that the value lies between `minimum` and `maximum`, in the unit; without a
        window by the value, the highest first, or the `lowest`. over: datasets of the store. Columns and what
        `where` may ask are those of docs/screening.md. save: the name under which the whole ranking is kept
        in the view `screens`. Raises `StrataError` for unknown names and what cannot be asked or ranked.
        """
        wanted = Wanted(minimum, maximum, lowest, where, inside_only, level)
        if isinstance(store, FeatureStore):
            return ranked(self, store, over, wanted, top, save)
        with open_store(store, files=False) as opened:
            return ranked(self, opened, over, wanted, top, save)

    def near(self, structure: Any, k: int = 10) -> "pd.DataFrame":
        """Return the `k` training entries that are nearest to one structure: entry, formula, value, distance.

        Distances are in units of the median distance that training rows have from their nearest five.
        Raises `StrataError` for a structure that cannot be used, and for a `k` below 1.
        """
        import pandas as pd

        if k < 1:
            raise StrataError(f"at least one entry is asked for; k is {k}")
        batch = Reader(Reading.of(self)).run([self._one(structure)])
        if batch.errors and all(not np.isfinite(X).all() for X in batch.vectors.values()):
            raise StrataError(batch.errors[0])
        place = self.calibration.domain.place(batch.vectors, batch.asked.elements, k)
        rows = [self.calibration.rows[i] for i in place.near[0]] if self.calibration.rows else []
        return pd.DataFrame(
            {
                "entry_id": [row.entry_id for row in rows],
                "formula": [row.formula for row in rows],
                "value": [row.value for row in rows],
                "distance": place.far[0][: len(rows)],
            }
        )

    def explain(self, structure: Any, *, columns: str | Path | None = None) -> Explanation:
        """Say where in a structure its prediction comes from; see `zoo.explain.shares`.

        Exact for linear heads, and an approximation that says so for others. Raises `StrataError` for a
        property of classes, for a network of the target's own, and for a structure that cannot be used.
        """
        if self.card.classes or self.network is not None:
            what = "a property of classes" if self.card.classes else "a network of the target's own"
            raise StrataError(f"the model of {self.card.name} is of {what}, which has no shares of atoms")
        own = read_columns(self, None if columns is None else Path(columns))
        read = self._one(structure)
        batch = Reader(Reading.of(self, own)).run([read])
        if batch.errors:
            raise StrataError(batch.errors[0])
        asked = list(dict.fromkeys((b.source, b.checkpoint) for m in self.members for b in m.blocks))
        spans, rows, at = [], [], 0
        start: dict[tuple[str, str], int] = {}
        for source in dict.fromkeys(source for source, _ in asked):
            names = [name for own_source, name in asked if own_source == source]
            found = self._rows(source, names, read)
            for name in names:
                width = next(c.width for c in self.sources[source].checkpoints if c.name == name)
                block = next(
                    b for m in self.members for b in m.blocks if (b.source, b.checkpoint) == (source, name)
                )
                start[source, name] = at
                spans.append(block._replace(start=at, stop=at + width))
                rows.append(found.get(name))
                at += width
        places = [
            np.concatenate(
                [np.arange(b.stop - b.start) + start[b.source, b.checkpoint] for b in member.blocks]
            )
            for member in self.members
        ]
        weights = np.array([member.weight for member in self.members])

        def predict(X: np.ndarray) -> np.ndarray:
            said = [m.head.predict(X[:, own]) for m, own in zip(self.members, places, strict=True)]
            return np.column_stack(said) @ weights / weights.sum()

        vector = self.columns_of(spans, batch.vectors)[0]
        spaces = self.calibration.domain.spaces
        reference = self.columns_of(spans, {name: space.mean[None] for name, space in spaces.items()})[0]
        numbers = np.asarray(read.structure.numbers) if read.structure is not None else np.empty(0)
        linear = self._linear(places, at)
        return shares(predict, spans, rows, numbers, vector, reference, linear=linear, unit=self.card.unit)

    def _rows(self, source: str, names: Sequence[str], read: Read) -> dict[str, Any]:
        """Return the rows before pooling of one structure, where a source model offers them."""
        if source == NETWORK or self.sources[source].columns or read.structure is None:
            return {}
        engine = make_engine(source, self.settings, self.sources[source].folder)
        return dict(engine.rows(read.structure, names)) if engine.backbone.offers_rows else {}

    def _linear(self, places: Sequence[np.ndarray], width: int) -> Linear | None:
        found = [weights_of(member.head) for member in self.members]
        placed = [
            None if one is None else one.placed(own, width) for one, own in zip(found, places, strict=True)
        ]
        return combine(placed, [member.weight for member in self.members])

    def _one(self, structure: Any) -> Read:
        read = read_objects(structure, self.limits)
        if len(read) != 1:
            raise StrataError(f"one structure is asked about at a time, and {len(read)} were given")
        if read[0].structure is None:
            raise StrataError(str(read[0].error))
        return read[0]


def load(
    name: str | Path,
    *,
    store: str | Path = "store",
    params: Params | None = None,
    trust: Sequence[str] = (),
    check: bool = True,
) -> LoadedModel:
    """Load the model that answers for a property, or a bundle.

    name: `DATASET/PROPERTY` of the project in this folder, the folder or zip of a bundle, or its address on
    the Hugging Face hub, `hf://ORG/NAME@REVISION`. params: by default those of params.yaml, where there is
    one. trust: import paths of head classes of one's own that a bundle may use. check: compare a bundle's
    golden predictions. Raises `StrataError` where there is no such model, and for a bundle that is damaged or
    was changed.
    """
    settings = params or (load_params() if PARAMS_FILE.exists() else Params())
    dataset, slash, prop = str(name).partition("/")
    if is_address(name):
        found = load_bundle(download(str(name)), settings.extract, trust=trust, check=check)
    elif str(name) and (Path(name).exists() or Path(name).suffix == ".zip"):
        found = load_bundle(name, settings.extract, trust=trust, check=check)
    elif slash and "/" not in prop:
        found = stored_model(open_store(store), dataset, prop, settings)
    else:
        raise StrataError(
            f"{str(name)!r} is neither DATASET/PROPERTY of this project nor the folder, the .zip or the "
            "address hf://… of a bundle"
        )
    return LoadedModel(**vars(found))


def predict(
    structures: Any,
    *,
    dataset: str,
    property: str,  # noqa: A002 - the word of the tables
    store: str | Path = "store",
    level: float = LEVEL,
) -> "pd.DataFrame":
    """Predict a property of one structure or many by the model of this project; see `LoadedModel.predict`."""
    return load(f"{dataset}/{property}", store=store).predict(structures, level=level)


def screen(model: str | Path, *, store: str | Path = "store", **wanted: Any) -> "pd.DataFrame":
    """Rank the structures of whole datasets by a model of this project, or a bundle: `LoadedModel.screen`."""
    return load(model, store=store).screen(store, **wanted)


def named(model: str | None, dataset: str | None, prop: str | None) -> str:
    """Return the name of a model that was asked for in one of two ways. Raises `StrataError` for neither."""
    if model is not None and dataset is None and prop is None:
        return model
    if model is None and dataset is not None and prop is not None:
        return f"{dataset}/{prop}"
    raise StrataError("name the model: --model DATASET/PROPERTY (or a bundle), or --dataset and --property")
