"""Tables of looks: a row each, laid side by side, and brought together over seeds."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.protocol import BASE, CHOSEN, COMPOSITION, SCRATCH, Scored
from evaluation.repetitions import most_often, spread
from evaluation.statistics import paired_change, percent_change

KEY = ["dataset", "property", "scheme", "seed", "fold"]
TARGET = ("property", "dataset", "unit", "scheme", "seen")
SIDES = ("base", "composition", "scratch", "transfer", "change", "base_change", "composition_change")
_SIDE_OF = {"base": BASE, "scratch": SCRATCH, "transfer": CHOSEN, "composition": COMPOSITION}
FIT = ("mad_mae", "r2", "spearman")
_WHERE_THERE_IS_SOME = {
    "composition": ("composition", "composition_low", "composition_high"),
    "seen": ("seen",),
}
_FACTS = ("run_id", *KEY, "unit", "role", "among", "method", "head", "feature_set", "source_model", "label",
          "n_train", "n_val", "val_mae", "fit_seconds", "mad")  # fmt: skip


def frame_of(scored: Iterable[Scored]) -> pd.DataFrame:
    """Return one row per look: who, where, test_mae (with its interval), r2, spearman, and the pairs as JSON.

    `pairs` holds [entry_id, actual, predicted] of every test entry.
    """
    rows = []
    for s in scored:
        row: dict[str, Any] = {name: getattr(s, name) for name in _FACTS}
        outcome = asdict(s.score)
        row |= {"n_test": outcome.pop("n"), "test_mae": outcome.pop("mae")}
        row |= {f"test_{name}": value for name, value in outcome.items()}
        row["seen"] = ", ".join(s.seen) or None
        row["pairs"] = json.dumps(s.predictions.to_numpy().tolist(), ensure_ascii=False)
        rows.append(row)
    return pd.DataFrame(rows)


def errors_of(row: pd.Series) -> pd.Series:
    """Return the absolute errors of one look by entry."""
    pairs = json.loads(row["pairs"])
    return pd.Series({entry: abs(actual - predicted) for entry, actual, predicted in pairs}, dtype="float64")


@dataclass(frozen=True, slots=True)
class Side:
    """One method over the splits of a target: mean MAE with its 95 % interval, and what it was."""

    mae: float
    low: float | None
    high: float | None
    methods: str
    label: str | None


def side(looks: pd.DataFrame) -> Side:
    """Bring the looks of one role over seeds (or folds) together.

    Several: the mean, with the interval of the corrected resampled t-test (training parts overlap). One: its
    MAE, with the bootstrap interval over test entries.
    """
    names = looks["method"].where(looks["method"] != "features", looks["head"])
    methods = most_often(names) or ""
    labels = ", ".join(sorted(set(looks["label"].dropna())))
    if len(looks) == 1:
        row = looks.iloc[0]
        return Side(row["test_mae"], row["test_mae_low"], row["test_mae_high"], methods, labels or None)
    found = spread(looks["test_mae"], looks["n_train"].mean(), looks["n_test"].mean())
    if found is None:
        raise ValueError("there are looks, and none has a test MAE")
    return Side(found.mean, max(found.low or 0.0, 0.0), found.high, methods, labels or None)


@dataclass(frozen=True, slots=True)
class Change:
    """By how many per cent transfer's MAE differs from another method's, with a 95 % interval."""

    percent: float | None
    low: float | None
    high: float | None
    interval: str  # over what: splits or entries
    n: int  # splits


def change(reference: pd.DataFrame, transfer: pd.DataFrame, resamples: int, seed: int) -> Change:
    """Compare two roles on the splits that both have.

    Several splits: the mean of their changes, with the corrected interval over splits. One: the change, with
    the interval of a paired bootstrap over its test entries.
    """
    both = reference.merge(transfer, on=KEY, suffixes=("", "_t"))
    if len(both) == 1:
        row = both.iloc[0]
        of_t = pd.Series({"pairs": row["pairs_t"]})
        before, after = errors_of(row).align(errors_of(of_t), join="inner")
        low, high = paired_change(before, after, resamples, seed)
        return Change(percent_change(row["test_mae"], row["test_mae_t"]), low, high, "entries", 1)
    changes = [percent_change(a, b) for a, b in zip(both["test_mae"], both["test_mae_t"], strict=True)]
    found = spread(changes, both["n_train"].mean(), both["n_test"].mean())
    if found is None:
        return Change(None, None, None, "", 0)
    return Change(found.mean, found.low, found.high, "splits", found.n)


def compare(looks: pd.DataFrame, by: Sequence[str], resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Lay Base, composition, scratch and transfer side by side, a row for each value of `by`.

    Where scratch was trained, only the splits that have it count, so that all stand on the same test parts.
    Columns: those of `by`, unit, rows, splits, then base, scratch, transfer and composition with _low and
    _high, what transfer was (`method`), the % change against scratch (`change…`), against Base
    (`base_change…`) and against composition (`composition_change…`), and which method won on the test part.
    Those of composition are there where any target has that baseline; `seen` (the source models that were
    trained on the target's values) where there is such a target.
    """
    rows = []
    for values, group in looks.groupby(list(by), sort=True, dropna=False):
        roles = {role: group[group["role"] == role] for role in (BASE, COMPOSITION, SCRATCH, CHOSEN)}
        if len(roles[SCRATCH]):
            places = roles[SCRATCH][KEY]
            roles = {role: own.merge(places, on=KEY) for role, own in roles.items()}
        if roles[CHOSEN].empty:
            continue
        first = roles[CHOSEN].iloc[0]
        row: dict[str, Any] = dict(zip(by, values if isinstance(values, tuple) else (values,), strict=True))
        row |= {
            "unit": first["unit"],
            "rows": int(first["n_train"] + first["n_val"] + first["n_test"]),
            "n_train": round(roles[CHOSEN]["n_train"].mean()),
            "n_test": round(roles[CHOSEN]["n_test"].mean()),
            "splits": len(roles[CHOSEN]),
        }
        sides = {role: side(own) if len(own) else None for role, own in roles.items()}
        for name, role in _SIDE_OF.items():
            found = sides[role]
            row |= {
                name: found.mae if found else None,
                f"{name}_low": found.low if found else None,
                f"{name}_high": found.high if found else None,
            }
        chosen = sides[CHOSEN]
        row |= {
            "method": chosen.methods if chosen else "",
            "label": chosen.label if chosen else None,
            "mad_mae": float((roles[CHOSEN]["mad"] / roles[CHOSEN]["test_mae"]).mean()),
            "r2": _mean(roles[CHOSEN]["test_r2"]),
            "spearman": _mean(roles[CHOSEN]["test_spearman"]),
        }
        for prefix, role in (("", SCRATCH), ("base_", BASE), ("composition_", COMPOSITION)):
            if len(roles[role]):
                found_change = change(roles[role], roles[CHOSEN], resamples, seed)
                row |= {
                    f"{prefix}change": found_change.percent,
                    f"{prefix}change_low": found_change.low,
                    f"{prefix}change_high": found_change.high,
                    "interval": found_change.interval,
                }
        row["seen"] = ", ".join(sorted(set(roles[CHOSEN]["seen"].dropna()))) or None
        row["winner"] = _winner(row, roles[CHOSEN])
        rows.append(row)
    table = pd.DataFrame(rows).reset_index(drop=True)
    for name, columns in _WHERE_THERE_IS_SOME.items():
        if name in table and table[name].isna().all():
            table = table.drop(columns=list(columns))
    return table


def unseen(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of `table` whose labels no source model was trained on, and a note of those left out.

    What is said of all targets together is said of these alone.
    """
    if "seen" not in table:
        return table, []
    seen = table[table["seen"].notna()]
    names = sorted({f"{row['dataset']}/{row['property']}" for row in records(seen)})
    if not names:
        return table, []
    by = ", ".join(sorted({name for text in seen["seen"] for name in text.split(", ")}))
    count = "1 target is" if len(names) == 1 else f"{len(names)} targets are"
    note = f"{count} left out of what is said over all: {by} was trained on the labels of {', '.join(names)}."
    return table[table["seen"].isna()], [note]


def _mean(values: pd.Series) -> float | None:
    known = values.astype("float64").dropna()
    return float(np.mean(known)) if len(known) else None


def _winner(row: dict[str, Any], chosen: pd.DataFrame) -> str:
    """Name the best on the test part; transfer is named by its method: fine-tuning or features."""
    method = chosen["method"].mode().iloc[0]
    known = {name: row[name] for name in _SIDE_OF if row[name] is not None}
    best = min(known, key=lambda name: known[name])
    return method if best == "transfer" else best


def scores_of(looks: pd.DataFrame) -> pd.DataFrame:
    """Return the looks as they are written: without the pairs, which would be most of the file."""
    return looks.drop(columns="pairs")


def points_of(looks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per test entry of each look: who, where, entry_id, actual, predicted."""
    rows = []
    for look in looks.to_dict("records"):
        where = {name: look[name] for name in (*KEY, "unit", "role", "method", "head", "run_id")}
        rows += [
            {**where, "entry_id": entry, "actual": actual, "predicted": predicted}
            for entry, actual, predicted in json.loads(look["pairs"])
        ]
    return pd.DataFrame(rows)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a data frame as dictionaries, with None for whatever is missing."""
    columns = [
        [None if missing else value for value, missing in zip(own.tolist(), own.isna(), strict=True)]
        for _, own in frame.items()
    ]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def nested(table: pd.DataFrame, levels: Sequence[str], values: str | Sequence[str]) -> dict[str, Any]:
    """Lay the rows out as a dictionary a level, for metrics.json: of one column, or of several by name.

    >>> nested(pd.DataFrame({"a": ["x", "x"], "b": [1, 2], "mae": [0.5, 0.25]}), ["a", "b"], "mae")
    {'x': {'1': 0.5, '2': 0.25}}
    """
    found: dict[str, Any] = {}
    *above, last = levels
    for row in table.to_dict("records"):
        place = found
        for level in above:
            place = place.setdefault(str(row[level]), {})
        place[str(row[last])] = (
            row[values] if isinstance(values, str) else {name: row[name] for name in values}
        )
    return found
