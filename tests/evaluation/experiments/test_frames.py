"""Looks side by side: which splits count, what the interval is over, and who won."""

import math

import numpy as np
import pandas as pd
import pytest

from evaluation.experiments.frames import compare, frame_of, points_of, scores_of, side
from evaluation.protocol import Scored, score

SHIFT = {"base": 4.0, "scratch": 2.0, "chosen": 1.0}


def looked(role: str, seed: int, shift: float, method: str | None = None, n: int = 10) -> Scored:
    """A look whose every error is `shift`, and twice that of the first entry."""
    actual = np.arange(n, dtype=float)
    predicted = actual + shift
    predicted[0] += shift
    pairs = pd.DataFrame({"entry_id": [f"e{i}" for i in range(n)], "actual": actual, "predicted": predicted})
    method = method or {"chosen": "features"}.get(role, role)
    return Scored(
        run_id=f"{role}-{seed}",
        dataset="d",
        property="p",
        unit="eV",
        scheme="random",
        seed=seed,
        fold=0,
        role=role,
        among="",
        method=method,
        head="ridge",
        feature_set=None,
        source_model=None,
        label=None,
        n_train=80,
        n_val=10,
        val_mae=1.0,
        fit_seconds=0.1,
        score=score(actual, predicted, 50),
        mad=2.5,
        split="random",
        predictions=pairs,
    )


def table(*looks: Scored) -> pd.Series:
    found = compare(frame_of(looks), ["dataset", "property", "scheme"], resamples=50)
    assert len(found) == 1
    return found.iloc[0]


def test_one_split_has_intervals_over_entries():
    row = table(*(looked(role, 0, shift) for role, shift in SHIFT.items()))
    assert (row["base"], row["scratch"], row["transfer"]) == (4.4, 2.2, 1.1)
    assert row["change"] == pytest.approx(-50)
    assert (row["change_low"], row["change_high"]) == (pytest.approx(-50), pytest.approx(-50))
    assert row["base_change"] == pytest.approx(-75)
    assert (row["interval"], row["splits"], row["rows"]) == ("entries", 1, 100)
    assert (row["method"], row["winner"], row["mad_mae"]) == ("ridge", "features", pytest.approx(2.5 / 1.1))


def test_several_splits_have_the_corrected_interval():
    looks = [
        looked(role, seed, shift * (1 + 0.1 * seed * (role == "chosen")))
        for role, shift in SHIFT.items()
        for seed in range(3)
    ]
    row = table(*looks)
    errors = [1.1 * (1 + 0.1 * seed) for seed in range(3)]  # chosen: 1.1, 1.21, 1.32
    assert row["transfer"] == pytest.approx(sum(errors) / 3)
    # two degrees of freedom: t = 0.95 √(2 / (1 - 0.95²)); s = 0.11; 1/3 + 10/80
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) * math.sqrt((1 / 3 + 1 / 8) * 0.11**2)
    assert row["transfer_high"] == pytest.approx(row["transfer"] + half)
    assert row["change"] == pytest.approx((-50 - 45 - 40) / 3)
    assert row["interval"] == "splits"


def test_only_splits_that_scratch_has_count():
    looks = [looked("scratch", 0, 2.0)]
    looks += [
        looked(role, seed, SHIFT[role] * (1 + seed)) for role in ("chosen", "base") for seed in range(3)
    ]
    row = table(*looks)
    assert (row["transfer"], row["base"], row["splits"]) == (1.1, 4.4, 1)


def test_without_scratch_there_is_no_change_against_it():
    row = table(looked("base", 0, 4.0), looked("chosen", 0, 8.0))
    assert "change" not in row
    assert row["base_change"] == pytest.approx(100)
    assert row["winner"] == "base"


def test_winner_is_named_by_its_method():
    assert table(*(looked(r, 0, s) for r, s in {**SHIFT, "scratch": 0.5}.items()))["winner"] == "scratch"
    looks = [looked("base", 0, 4.0), looked("scratch", 0, 2.0), looked("chosen", 0, 1.0, method="finetune")]
    assert table(*looks)["winner"] == "finetune"
    assert table(*looks)["method"] == "finetune"


def test_exact_scratch_leaves_no_change_to_speak_of():
    row = table(looked("base", 0, 4.0), looked("scratch", 0, 0.0), looked("chosen", 0, 1.0))
    assert row["change"] is None


def test_methods_are_listed_most_frequent_first():
    looks = [looked("chosen", 0, 1.0, method="finetune"), looked("chosen", 1, 1.0), looked("chosen", 2, 1.0)]
    assert side(frame_of(looks)).methods == "ridge, finetune"


def test_points_and_scores():
    looks = frame_of([looked("chosen", 0, 1.0)])
    points = points_of(looks)
    assert points[["entry_id", "actual", "predicted"]].iloc[0].tolist() == ["e0", 0.0, 2.0]
    assert len(points) == 10
    assert "pairs" not in scores_of(looks)
