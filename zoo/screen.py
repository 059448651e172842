"""Screening: every structure of whole datasets is predicted and ranked, from the vectors that a store has.

Vectors are read and used piece by piece, so that memory does not grow with their number; of each structure
only a few numbers stay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.errors import StrataError, check_name
from core.progress import Meter
from featurestore.query.store import FeatureStore
from featurestore.screens import keep
from featurestore.tables.schema import SCREENS
from heads.domain import INSIDE
from heads.intervals import LEVEL
from zoo.candidates import Candidates
from zoo.condition import Condition
from zoo.judge import PREDICTED, READ, cut, predict
from zoo.model import Model

if TYPE_CHECKING:
    import pandas as pd

TOP = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: values from `minimum` to `maximum`, or without either the highest, or lowest.

    where: a condition in SQL on the columns of docs/screening.md. inside_only: no structure at the edge of
    the model's domain or outside. level: of the intervals. Raises `StrataError` for what cannot be met.
    """

    minimum: float | None = None
    maximum: float | None = None
    lowest: bool = False
    where: str | None = None
    inside_only: bool = False
    level: float = LEVEL

    def __post_init__(self) -> None:
        for name, end in (("minimum", self.minimum), ("maximum", self.maximum)):
            if end is not None and not math.isfinite(end):
                raise StrataError(f"the {name} of a window is a finite number, and {end} was given")
        low, high = self.window
        if low > high:
            raise StrataError(
                f"no value lies between a minimum of {low:g} and a maximum of {high:g}: exchange them"
            )
        if self.lowest and self.has_window:
            raise StrataError(
                "with a window structures are ranked by the chance that their value lies in it: leave out "
                "either --lowest, or --minimum and --maximum"
            )
        if not 0 < self.level < 1:
            raise StrataError(
                f"the level of an interval lies between 0 and 1, such as 0.9; it is {self.level:g}"
            )

    @property
    def has_window(self) -> bool:
        """Whether structures are ranked by the chance that their value lies in a window."""
        return self.minimum is not None or self.maximum is not None

    @property
    def window(self) -> tuple[float, float]:
        """The ends of the window, infinite where none was given."""
        return (
            -math.inf if self.minimum is None else self.minimum,
            math.inf if self.maximum is None else self.maximum,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Screening:
    """A ranking. rows (n,): places among the candidates, best first; predicted: what was said of each."""

    candidates: Candidates
    wanted: Wanted
    rows: np.ndarray
    predicted: pa.Table
    level: float

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self, top: int | None = None) -> "pd.DataFrame":
        """Return the best `top`, or all: the columns of `Model.frame`, after rank, entries and chance."""
        import pandas as pd

        rows = self.rows[:top]
        model, known = self.candidates.model, self.candidates.known
        frames = []
        for some in cut(np.sort(rows) if len(rows) else np.zeros(1, np.int64), READ):
            vectors, own = self.candidates.vectors(some)
            frame = model.frame(self.candidates.asked(some), vectors, self.wanted.level, own)
            frames.append(frame.set_index(some))
        frame = pd.concat(frames).loc[rows].reset_index(drop=True)
        frame = frame.rename(columns={"structure": "structure_id"})
        for place, (name, kind) in enumerate((("entries", "entry_ids"), ("datasets", "datasets"))):
            lists = known[kind].take(pa.array(rows)).to_pylist()
            frame.insert(place, name, [", ".join(dict.fromkeys(several)) for several in lists])
        if self.wanted.has_window:
            chance = self.predicted["chance"].to_numpy()[: len(rows)]
            frame.insert(list(frame.columns).index("value"), "chance", chance)
        frame.insert(0, "rank", np.arange(1, len(rows) + 1))
        frame.attrs = {"unit": model.card.unit, "ranked": len(self.rows)}
        return frame

    def keep(self, name: str) -> None:
        """Keep the whole ranking in the store, under a name, in place of one that was kept under it before.

        It appears in the view `screens`. Raises `StrataError` for a name that is none.
        """
        n, wanted, card = len(self.rows), self.wanted, self.candidates.model.card
        same: dict[str, Any] = {"screen": name, "model": card.name, "model_sha256": card.sha256}
        same |= {"unit": card.unit, "level": self.level, "made_at": datetime.now(UTC)}
        same |= {"minimum": wanted.minimum, "maximum": wanted.maximum}
        own = {"structure_id": self.candidates.known["structure_id"].take(pa.array(self.rows))}
        own |= {"rank": pa.array(np.arange(1, n + 1))}
        own |= {key: self.predicted[key] for key in PREDICTED.names}
        columns = [
            own[field.name] if field.name in own else pa.array([same[field.name]] * n, field.type)
            for field in SCREENS
        ]
        keep(self.candidates.store.layout, name, pa.table(columns, schema=SCREENS))


def screen(
    model: Model,
    store: FeatureStore,
    over: Sequence[str],
    wanted: Wanted,
    top: int | None = TOP,
    save: str | None = None,
) -> "pd.DataFrame":
    """Rank every structure of the datasets `over`; return the best `top`, None: all. See `Screening.frame`.

    save: the name under which the whole ranking is kept in the store. Raises `StrataError` for unknown
    datasets, conditions that cannot be asked, and where no structure has vectors that the model reads.
    """
    check_request(model, top, save)
    found = rank(Candidates.of(model, store, over), wanted)
    if save is not None:
        found.keep(save)
    return found.frame(top)


def check_request(model: Model, top: int | None, save: str | None) -> None:
    """Raise `StrataError` for what can be told before anything is read."""
    if model.card.classes:
        raise StrataError(
            f"the model of {model.card.name} tells classes apart ({', '.join(model.card.classes)}), and a "
            "screening ranks values: name a property that is a number"
        )
    if top is not None and top < 1:
        raise StrataError(f"at least one structure is shown: top is {top}")
    if save is not None:
        check_name(save, "screening")


def rank(candidates: Candidates, wanted: Wanted, *, told: bool = False) -> Screening:
    """Predict candidates in one pass, and rank those that meet what is wanted.

    told: show a bar. Those that no member of the model has vectors of are left out; see `Candidates.lacking`.
    Ties are broken by percentile of the domain, then by the datasets' order.
    """
    condition = None
    if wanted.where is not None:
        condition = Condition(candidates.store.connection, wanted.where, candidates.known.schema, PREDICTED)
    some = candidates.take(candidates.usable)
    if not len(some):
        reads = ", ".join(candidates.model.sources)
        raise StrataError(
            f"none of the {len(candidates):,} structures of {', '.join(candidates.over)} has the vectors "
            f"that the model of {candidates.model.card.name} reads ({reads})"
        )
    known = None if condition is None else condition.of_known(some.known)
    rows = np.arange(len(some)) if known is None else np.flatnonzero(known)
    window = wanted.window if wanted.has_window else None
    with Meter("screen", len(rows) if told else 0) as meter:
        predicted, level = predict(some, rows, window, wanted.level, meter.advance)
    value, chance, percentile = (predicted[n].to_numpy() for n in ("value", "chance", "percentile"))
    kept = np.isfinite(value)
    if wanted.inside_only:
        kept &= predicted["domain"].to_numpy(zero_copy_only=False) == INSIDE
    if condition is not None and known is None:
        whole = some.known
        for name in predicted.column_names:
            whole = whole.append_column(name, predicted[name])
        kept &= condition.of_predicted(whole)
    by = -chance if wanted.has_window else value if wanted.lowest else -value
    order = np.lexsort((percentile, by))
    order = order[kept[order]]
    return Screening(some, wanted, rows[order], predicted.take(pa.array(order)), level)
