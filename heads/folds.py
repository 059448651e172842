"""The protocol for small data: cross-validation inside train + validation, then a fit to all of it.

A validation part of fifteen rows picks the head that was lucky on them. Here every row of train and
validation is predicted once in every repetition, by a model that was fitted without it and its group.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold

from core.composition import Composition
from core.params import Fit
from core.structure import Structure
from featurestore.query.store import FeatureStore
from featurestore.splits.duplicates import find_groups
from featurestore.splits.groups import chemical_system, prototype, space_group
from heads.base import Head
from heads.on_log import Predictor

SMALL = 2000  # rows of train + validation from which one validation part tells heads apart

# What the groups of a split are by which it keeps rows together; of any other split they are structures.
_GROUPED: dict[str, Callable[[Structure | Composition], str]] = {
    "grouped": chemical_system,
    "kfold_grouped": chemical_system,
    "ladder_grouped": chemical_system,
    "grouped_prototype": prototype,
    "grouped_space_group": space_group,
}
_CRYSTALS = "grouped_crystal"

FitHead = Callable[
    [np.ndarray, np.ndarray | None], Predictor
]  # from rows to fit to, and rows to stop by, to a head


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run is compared by, and what is done once it was."""

    cv: bool = False
    refit: bool = False
    folds: int = 5
    repeats: int = 1

    @classmethod
    def of(cls, settings: Fit, head: type[Head], rows: int) -> "Choice":
        """Read from the params what is done with a head on so many rows of train and validation."""
        small = head.shallow and rows < SMALL
        cv = head.needs_vectors and (settings.choose_by == "cv" or (settings.choose_by == "auto" and small))
        return cls(cv, settings.refit and head.shallow, settings.folds, settings.repeats)

    @property
    def plain(self) -> bool:
        """Tell whether this is the paper's protocol: one validation part, and no other fit."""
        return not (self.cv or self.refit)

    @property
    def text(self) -> str | None:
        """Say it in the table runs; None: by the validation part alone."""
        return None if self.plain else ", ".join(["cv" if self.cv else "validation", *["refit"] * self.refit])

    @property
    def facts(self) -> list[object]:
        """What of it decides the outcome of a run."""
        return [*([self.folds, self.repeats] if self.cv else []), self.refit]


PLAIN = Choice()


class Groups:
    """Which rows of a split stay together; the structures are looked at once."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._labels: dict[str, dict[str, str]] = {}

    def of(self, scheme: str, structure_ids: Sequence[str]) -> np.ndarray:
        """Return (n,) numbers of the groups of rows: by structure, or by the split's own groups."""
        ids = list(map(str, structure_ids))
        if scheme in _GROUPED or scheme == _CRYSTALS:
            known = self._labels.setdefault(scheme, {})
            new = [name for name in dict.fromkeys(ids) if name not in known]
            if new:
                known |= self._found(scheme, new)
            ids = [known[name] for name in ids]
        return np.unique(ids, return_inverse=True)[1]

    def _found(self, scheme: str, ids: list[str]) -> dict[str, str]:
        structures = self._store.structures(ids)
        if scheme == _CRYSTALS:
            return find_groups(zip(ids, structures, strict=True))[0]
        return dict(zip(ids, map(_GROUPED[scheme], structures), strict=True))


def draw(groups: np.ndarray, folds: int, repeats: int) -> Iterator[list[np.ndarray]]:
    """Deal rows into folds, anew in every repetition; yields the rows of each fold. Groups stay together."""
    count = min(folds, len(np.unique(groups)))
    for seed in range(repeats):
        dealt = GroupKFold(count, shuffle=True, random_state=seed)
        yield [out for _, out in dealt.split(groups, groups=groups)]


def out_of_fold(
    X: np.ndarray, y: np.ndarray, groups: np.ndarray, choice: Choice, fit: FitHead, stops: bool
) -> tuple[np.ndarray, float]:
    """Predict every row by heads that were fitted without its group.

    X (n, d), y (n,), groups (n,). fit: what fits a head to some rows. stops: whether the head needs rows to
    stop by, which are then those of the next fold. Returns (n,) predictions, the mean over the repetitions,
    and the mean absolute error of one repetition.
    """
    found, errors = [], []
    for parts in draw(groups, choice.folds, choice.repeats):
        values = np.empty(len(y))
        for k, out in enumerate(parts):
            watched = parts[(k + 1) % len(parts)] if stops and len(parts) > 2 else None
            rest = [rows for rows in parts if rows is not out and rows is not watched]
            values[out] = fit(np.sort(np.concatenate(rest)), watched).predict(X[out])
        found.append(values)
        errors.append(np.abs(values - y).mean())
    return np.mean(found, axis=0), float(np.mean(errors))
