"""Intervals that hold: conformal, from predictions of rows that a model was not fitted on.

Residuals are divided by the error that is expected of each row, and the interval of a new structure is made
of their quantiles times the error that is expected of it (normalised conformal predictive systems, Boström et
al. 2021, by the library crepes). What is expected is learned from distance, the spread of a committee's
members, and what its neighbours' values and errors were. Both tails are counted by themselves, as errors of
positive properties are skewed.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.model_selection import GroupKFold

from core.arrays import read_arrays, write_arrays
from core.errors import StrataError
from heads.domain import NEAREST, Place
from heads.forest import Forest

LEVEL = 0.9
FEWEST_TO_TELL = 60  # rows from which on some are expected to be harder than others
BINNED_FROM = 400  # rows from which on easy and hard ones have quantiles of their own
FOLDS = 5
FILE, FOREST = "intervals", "difficulty"
_SOFT = 0.05  # of the median error: no row is expected to have none at all


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the values of m structures are expected, in the property's unit.

    low, high (m,); level: the share of structures whose value lies inside, which is below the one asked for
    where there are too few rows. error (m,): the absolute error that is expected.
    """

    low: np.ndarray
    high: np.ndarray
    level: float
    error: np.ndarray


@dataclass(frozen=True, slots=True)
class Intervals:
    """Calibrated on n rows that the model was not fitted on.

    residuals (n,): value − prediction; expected (n,): the error that was expected of each, which knew nothing
    of its own; both of logarithms where `log`. values, errors: of the training rows that a `Place` names,
    NaN where an error is not known. forest: from what is known of a row to its expected error; None where
    there are too few rows to tell.
    """

    residuals: np.ndarray
    expected: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    log: bool
    forest: Forest | None

    @classmethod
    def learn(
        cls,
        place: Place,
        predicted: np.ndarray,
        spread: np.ndarray,
        actual: np.ndarray,
        values: np.ndarray,
        rows: np.ndarray,
        groups: np.ndarray,
        log: bool = False,
    ) -> Self:
        """Calibrate on n rows: what was `predicted` (n,), by members `spread` (n,) apart.

        place: where they lie among the training rows, whose `values` are (t,). rows (n,): which training rows
        they are themselves, −1 where none. groups (n,): rows of one group say the same. log: the property is
        learned as its logarithm.
        """
        actual, predicted, values = (_scaled(x, log) for x in (actual, predicted, values))
        residuals = actual - predicted
        errors = np.full(len(values), np.nan)
        errors[rows[rows >= 0]] = np.abs(residuals)[rows >= 0]
        found = cls(residuals, np.ones(len(residuals)), values, errors, log, None)
        if len(residuals) < FEWEST_TO_TELL or len(np.unique(groups)) < 2:
            return found
        Z, absolute = found._known(place, predicted, spread), np.abs(residuals)
        soft = _SOFT * float(np.median(absolute)) + np.finfo(float).tiny
        expected = np.empty(len(Z))
        for rest, out in GroupKFold(_folds(groups), shuffle=True, random_state=0).split(Z, groups=groups):
            expected[out] = _forest().fit(Z[rest], absolute[rest] + soft).predict(Z[out])
        forest = _forest().fit(Z, absolute + soft)
        return cls(residuals, expected, values, errors, log, forest)

    def __call__(
        self,
        place: Place,
        predicted: np.ndarray,
        spread: np.ndarray,
        level: float = LEVEL,
        difficulty: np.ndarray | None = None,
    ) -> Interval:
        """Return the intervals of m structures; predicted (m,) in the unit, spread as in `learn`.

        difficulty (m,): what the method of that name gives, where it is known already.
        """
        if not 0 < level < 1:
            raise StrataError(f"the level of an interval lies between 0 and 1, such as 0.9; it is {level:g}")
        middle = _scaled(predicted, self.log)
        expected = self.difficulty(place, predicted, spread) if difficulty is None else difficulty
        bins, edges = self._bins(), self._edges()
        fewest = np.bincount(bins).min() if len(bins) else 0
        most = 1 - 2 / (fewest + 1)  # beyond it a tail has no residual left
        level = min(level, float(most))
        if level <= 0:
            nothing = np.full(len(middle), np.nan)
            return Interval(nothing, nothing, 0.0, nothing)
        low, high = self._quantiles(middle, expected, bins, np.searchsorted(edges, expected), level).T
        error = expected * (1.0 if self.forest is not None else float(np.abs(self.residuals).mean()))
        if self.log:
            with np.errstate(over="ignore"):
                low, high = np.exp(low), np.exp(high)
            error = predicted * error
        return Interval(low, high, level, error)

    def chance(self, predicted: np.ndarray, difficulty: np.ndarray, low: float, high: float) -> np.ndarray:
        """Return (m,) shares of calibration rows whose error would put the value between `low` and `high`."""
        middle, expected = _scaled(predicted, self.log), difficulty
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = [np.log(max(end, 0.0)) if self.log else end for end in (low, high)]
        below, above = ((end - middle) / expected for end in ends)
        scaled, bins = self.residuals / self.expected, self._bins()
        asked = np.searchsorted(self._edges(), expected) if len(np.unique(bins)) > 1 else bins[:1]
        share = np.full(len(middle), np.nan)
        for own in np.unique(asked):  # as in an interval: easy and hard rows have their own
            ordered, here = np.sort(scaled[bins == own]), np.broadcast_to(asked == own, share.shape)
            counted = np.searchsorted(ordered, above[here], "right")
            share[here] = (counted - np.searchsorted(ordered, below[here], "left")) / len(ordered)
        return share

    def difficulty(self, place: Place, predicted: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return (m,) expected absolute errors, of logarithms where these are learned."""
        if self.forest is None or not len(predicted):
            return np.full(len(predicted), 1.0)
        return self.forest.predict(self._known(place, _scaled(predicted, self.log), spread))

    def _known(self, place: Place, predicted: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return (m, 6): what is known of rows whose value is not, on scales that suit a forest."""
        near, there = place.near, np.isfinite(place.far)
        close = 1 / (place.far + 0.2 * place.distance[:, None] + 1e-9)
        weight = np.where(there, close, 0)
        errors = self.errors[near]
        judged = np.where(np.isfinite(errors), weight, 0)
        overall = float(np.nanmedian(self.errors)) if np.isfinite(self.errors).any() else 0.0
        with np.errstate(invalid="ignore", divide="ignore"):
            around = np.where(np.isfinite(errors), judged * errors, 0).sum(axis=1) / judged.sum(axis=1)
            away = (weight * (self.values[near] - predicted[:, None]) ** 2).sum(axis=1) / weight.sum(axis=1)
        around = np.where(np.isfinite(around), around, overall)
        away = np.sqrt(np.where(np.isfinite(away), away, 0))
        known = (place.distance, np.nanmin(place.far[:, :NEAREST], axis=1), around, away, spread, predicted)
        return np.nan_to_num(np.column_stack(known), posinf=1e9)

    def _bins(self) -> np.ndarray:
        return np.searchsorted(self._edges(), self.expected)

    def _edges(self) -> np.ndarray:
        binned = self.forest is not None and len(self.residuals) >= BINNED_FROM
        return np.quantile(self.expected, [0.5]) if binned else np.empty(0)

    def _quantiles(
        self, middle: np.ndarray, expected: np.ndarray, own: np.ndarray, asked: np.ndarray, level: float
    ) -> np.ndarray:
        """Return (m, 2) ends, in the scale of the residuals."""
        from crepes import ConformalPredictiveSystem

        binned = len(np.unique(own)) > 1
        if not len(middle):
            return np.empty((0, 2))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # it warns of percentiles that have no row: those are not asked for
            system = ConformalPredictiveSystem().fit(
                self.residuals, sigmas=self.expected, bins=own if binned else None, seed=0
            )
            # a hair below the level: rounding would ask for a row more than there is
            ends = system.predict_int(
                middle, sigmas=expected, bins=asked if binned else None, confidence=level - 1e-9
            )
        return np.asarray(ends, np.float64)

    def save(self, folder: Path) -> None:
        """Write it into a folder: arrays (safetensors), the rest (JSON), and the forest as a head is."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_arrays(folder / f"{FILE}.safetensors", arrays)
        facts = {"log": self.log, "forest": self.forest is not None}
        (folder / f"{FILE}.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
        if self.forest is not None:
            self.forest.save(folder / FOREST)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises `StrataError` for files that do not fit together."""
        try:
            facts: dict[str, Any] = json.loads((folder / f"{FILE}.json").read_text(encoding="utf-8"))
            arrays = read_arrays(folder / f"{FILE}.safetensors")
            forest = Forest.load(folder / FOREST) if facts["forest"] else None
            return cls(**{name: arrays[name] for name in _ARRAYS}, log=bool(facts["log"]), forest=forest)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StrataError(f"{folder} holds no intervals that can be read ({error})") from None


_ARRAYS = ("residuals", "expected", "values", "errors")


def coverage(interval: Interval, actual: np.ndarray) -> np.ndarray:
    """Tell of each value (m,) whether it lies in its interval."""
    return (interval.low <= actual) & (actual <= interval.high)


def score(low: np.ndarray, high: np.ndarray, actual: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return (m,) interval scores (Winkler 1972): the width, and 2/(1 − level) times what lies outside.

    The smaller the better, and the smallest where an interval holds and is narrow.

    >>> score(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.5, 1.5])).round(9)
    array([ 1., 11.])
    """
    missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return np.asarray(high - low + 2 / (1 - level) * missed)


def _scaled(values: np.ndarray, log: bool) -> np.ndarray:
    return np.log(values) if log else np.asarray(values, np.float64)


def _forest() -> Forest:
    return Forest(n_estimators=100, max_features=0.5, min_samples_leaf=10)


def _folds(groups: np.ndarray) -> int:
    return min(FOLDS, len(np.unique(groups)))
