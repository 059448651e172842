"""Who may look at a test part, and what is left behind by a look."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import featurestore
from core.errors import StrataError
from core.params import Evaluate, parse
from evaluation import protocol
from evaluation.current_runs import current_runs
from evaluation.protocol import choose, look, score
from featurestore.splits.schemes import split_dataset
from heads.base import Head
from tests.stores import add_dataset, add_features

DATASET = "ase_elements"
FEW = Evaluate(bootstrap=10)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


def test_score_against_worked_values():
    # errors 1, 1, 2, 0; mean target 2.5: 1 - 6/5
    found = score(np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 1, 4]), resamples=0)
    assert found.mae == 1.0
    assert found.r2 == pytest.approx(-0.2, abs=1e-12)
    assert found.spearman == pytest.approx(0.4, abs=1e-12)  # ranks 1 2 3 4 and 2 3 1 4: 1 - 6·6/60
    assert (found.mae_low, found.mae_high, found.n) == (None, None, 4)


@given(arrays(float, st.integers(2, 40), elements=numbers))
def test_interval_holds_the_mae_and_repeats(actual):
    predicted = np.zeros_like(actual)
    first, second = (score(actual, predicted, resamples=60, seed=7) for _ in range(2))
    assert first == second
    tolerance = 1e-9 * (1 + first.mae)
    errors = np.abs(actual)
    assert errors.min() - tolerance <= first.mae_low <= first.mae_high <= errors.max() + tolerance


@given(arrays(float, 12, elements=numbers), st.permutations(range(12)))
def test_order_of_entries_does_not_matter(actual, order):
    predicted = np.sin(np.arange(12)) * 100
    one = score(actual, predicted, resamples=0)
    other = score(actual[order], predicted[order], resamples=0)
    assert one.mae == pytest.approx(other.mae, rel=1e-9)
    assert (one.r2 is None) == (other.r2 is None)


def test_interval_narrows_with_more_entries():
    errors = np.random.default_rng(0).exponential(size=4000)
    few, many = (score(errors[:n], np.zeros(n)) for n in (40, 4000))
    assert many.mae_high - many.mae_low < (few.mae_high - few.mae_low) / 4


@pytest.mark.parametrize(
    ("actual", "predicted", "undefined"),
    [
        ([5.0, 5.0], [1.0, 2.0], {"r2", "spearman"}),  # constant target
        ([1.0, 2.0], [3.0, 3.0], {"spearman"}),  # constant prediction: Base
        ([1.0], [2.0], {"r2", "spearman", "mae_low", "mae_high"}),
    ],
)
def test_undefined_is_none_and_never_nan(actual, predicted, undefined):
    found = score(np.array(actual), np.array(predicted), resamples=20)
    assert {
        name for name in ("mae_low", "mae_high", "r2", "spearman") if getattr(found, name) is None
    } == undefined


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_prediction_that_is_no_number_is_an_error(bad):
    with pytest.raises(StrataError, match="prediction 1 of 2"):
        score(np.array([1.0, 2.0]), np.array([1.0, bad]))


def test_different_lengths_and_no_entries_are_errors():
    with pytest.raises(StrataError, match=r"\(3,\) predictions against \(2,\) targets"):
        score(np.zeros(2), np.zeros(3))
    with pytest.raises(StrataError, match="cannot score"):
        score(np.zeros(0), np.zeros(0))


def table(*rows) -> pd.DataFrame:
    """Return runs of one target from (run_id, method, val_mae, seed)."""
    frame = pd.DataFrame(rows, columns=["run_id", "method", "val_mae", "seed"])
    return frame.assign(dataset="d", property="p", scheme="random", fold=0)


def test_tie_is_broken_by_run_id():
    runs = table(("z", "features", 1.0, 0), ("b", "features", 1.0, 0), ("a", "base", 9.0, 0))
    assert choose(runs)[["run_id", "role"]].to_numpy().tolist() == [["b", "chosen"], ["a", "base"]]


def test_every_split_has_its_own_choice():
    runs = table(("a", "features", 1.0, 0), ("b", "features", 2.0, 0), ("c", "features", 5.0, 1))
    assert choose(runs)["run_id"].tolist() == ["a", "c"]


def test_run_without_validation_error_is_never_chosen():
    runs = table(("a", "features", None, 0), ("b", "features", 2.0, 0))
    assert choose(runs)["run_id"].tolist() == ["b"]


def test_scratch_is_beside_the_choice_and_takes_no_part_in_it():
    runs = table(
        ("s", "scratch", 0.1, 0), ("f", "finetune", 1.0, 0), ("h", "features", 2.0, 0), ("a", "base", 9.0, 0)
    )
    assert choose(runs)[["run_id", "role"]].to_numpy().tolist() == [
        ["f", "chosen"],
        ["s", "scratch"],
        ["a", "base"],
    ]


def test_each_group_has_its_own_choice():
    runs = table(("a", "features", 1.0, 0), ("b", "features", 2.0, 0), ("c", "features", 3.0, 0))
    kinds = runs.assign(kind=["atom", "bond", "bond"])
    assert choose(kinds, within=["kind"])["run_id"].tolist() == ["a", "b"]


@pytest.mark.parametrize("name", ["test_mae", "base_test_mae", "test_r2"])
def test_a_choice_among_runs_that_hold_test_scores_is_refused(name):
    with pytest.raises(StrataError, match=f"by validation MAE; .*{name}"):
        choose(table(("a", "features", 1.0, 0)).assign(**{name: 0.5}))


def runs_of(small) -> tuple[featurestore.FeatureStore, pd.DataFrame]:
    store = featurestore.open(small.store)
    return store, current_runs(store, small.store, DATASET)


def looks(small) -> list[tuple]:
    query = "SELECT run_id, role, among, stage, n FROM looks ORDER BY ALL"
    return featurestore.open(small.store).sql(query).fetchall()


def test_a_look_leaves_a_row_for_each_run_that_is_scored_and_no_other(small):
    store, runs = runs_of(small)
    scored = look(store, runs, FEW, "evaluate")
    assert [row[0] for row in looks(small)] == sorted(s.run_id for s in scored)
    assert looks(small)[0] == ("bulk_modulus-mean", "base", "", "evaluate", 10)
    assert not any("lightgbm" in row[0] for row in looks(small))  # the better one on the test part


def test_the_same_look_again_is_one_row_and_another_stage_is_another(small):
    for stage in ("evaluate", "evaluate", "transfer"):
        store, runs = runs_of(small)
        look(store, runs, FEW, stage)
    assert len(looks(small)) == 8
    assert {row[3] for row in looks(small)} == {"evaluate", "transfer"}


def test_the_row_is_there_even_where_scoring_fails(small):
    small.add_run("broken", "volume", "ridge", np.full(60, np.nan), val_mae=0.1)
    store, runs = runs_of(small)
    with pytest.raises(StrataError, match="run broken"):
        look(store, runs, FEW, "evaluate")
    assert "broken" in {row[0] for row in looks(small)}


def test_test_targets_are_read_of_chosen_runs_alone(small, monkeypatch):
    """Whatever is asked of the store during a look is written down here."""
    store, runs = runs_of(small)
    asked = []
    real = store.sql
    monkeypatch.setattr(
        store, "sql", lambda query, params=None: asked.append((query, params)) or real(query, params)
    )
    look(store, runs, FEW, "evaluate")
    reading = [params[0] for query, params in asked if "targets" in query]
    assert sorted(reading) == ["bulk_modulus-mean", "bulk_modulus-ridge", "volume-mean", "volume-ridge"]


def test_nothing_public_scores_a_run_of_ones_own_choosing():
    """What takes a store takes all runs with it, and chooses by itself."""
    public = [name for name in vars(protocol) if not name.startswith("_") and callable(vars(protocol)[name])]
    own = {
        name for name in public if getattr(vars(protocol)[name], "__module__", "") == "evaluation.protocol"
    }
    assert own == {"TestScore", "Scored", "score", "choose", "split_label", "look"}


seen: list[np.ndarray] = []


class Spy(Head):
    """Remembers every target it is handed."""

    def _fit(self, X, y, X_val, y_val) -> None:
        seen.extend([y, y_val])
        self.mean_ = float(y.mean())

    def _predict(self, X):
        return np.full(len(X), self.mean_)


def test_no_test_value_reaches_a_head_or_the_choice(tmp_path):
    """Test targets are made unmistakable; heads, fit's report and the choice are searched for them."""
    from heads.fit import fit

    add_dataset(tmp_path, "alpha", range(40))
    add_features(tmp_path, range(40))
    split_dataset(tmp_path, "alpha", ("random",), (0,))
    store = featurestore.open(tmp_path)
    parts = store.sql(
        "SELECT part, value FROM splits JOIN targets USING (dataset, property, entry_id) "
        "WHERE property = 'energy'"
    ).fetchall()
    of_test = {value for part, value in parts if part == "test"}
    of_others = {value for part, value in parts if part != "test"}
    assert of_test
    assert not of_test & of_others
    name = f"{__name__}.Spy"
    params = parse(
        {
            "extract": {"source_models": ["synthetic"]},
            "fit": {"heads": ["mean", "spy"], "properties": {"alpha": ["energy"]}},
            "heads": {"spy": {"class": name}},
        }
    )
    seen.clear()
    report = fit("alpha", params, tmp_path)
    handed = {float(v) for values in seen for v in values}
    assert handed == of_others
    assert not of_test & {value for run in report.runs for value in (run.train_mae, run.val_mae)}
    store = featurestore.open(tmp_path)
    picked = choose(current_runs(store, tmp_path, "alpha"))
    assert not [name for name in picked.columns if "test" in name.replace("n_test", "")]
    known = store.matrix("alpha", "energy", split=report.runs[0].split, parts=("train", "val"))
    assert not of_test & set(known.y.tolist())
    assert store.inputs("alpha", "energy", split=report.runs[0].split, parts=("test",)).y is None


def test_runs_that_were_cross_validated_are_compared_by_that_and_the_best_meets_the_others():
    """Lucky on the validation part, and worse in the folds: it does not stand against the network."""
    runs = pd.DataFrame(
        {
            "run_id": ["lucky", "steady", "network", "base"],
            "method": ["features", "committee", "finetune", "base"],
            "val_mae": [1.0, 2.0, 1.5, 9.0],
            "cv_mae": [3.0, 2.0, np.nan, np.nan],
        }
    )
    runs[["dataset", "property", "scheme", "seed", "fold"]] = ["d", "p", "random", 0, 0]
    assert choose(runs).run_id.tolist() == ["network", "base"]
    assert choose(runs[runs.run_id != "network"]).run_id.tolist() == ["steady", "base"]
    assert choose(runs.drop(columns="cv_mae")).run_id.tolist() == ["lucky", "base"]


def folded(*rows):
    """Return runs of one target and split: id, method, error on the validation part, error of the folds."""
    runs = pd.DataFrame(rows, columns=["run_id", "method", "val_mae", "cv_mae"])
    runs[["dataset", "property", "scheme", "seed", "fold"]] = ["d", "p", "random", 0, 0]
    return runs


def test_a_committee_that_was_cross_validated_stands_for_its_members():
    luckiest, network = ("luckiest", "features", 1.0, 2.0), ("network", "finetune", 4.0, np.nan)
    runs = folded(luckiest, ("committee", "committee", 3.0, 2.1), network)
    assert choose(runs).run_id.tolist() == ["committee"]
    runs.loc[runs.run_id == "network", "val_mae"] = 0.5
    assert choose(runs).run_id.tolist() == ["network"]


def test_labels_of_rows_that_come_twice_do_not_matter():
    good, bad = ("good", "features", 2.0, 1.0), ("bad", "features", 1.0, 2.0)
    runs = folded(good, bad, ("base", "base", 5.0, np.nan))
    other = runs.iloc[::-1].reset_index(drop=True).assign(dataset="e")
    several = pd.concat([runs, other])  # as those of several datasets are
    assert choose(several)[["dataset", "run_id"]].values.tolist() == [
        ["d", "good"], ["d", "base"], ["e", "good"], ["e", "base"]
    ]  # fmt: skip
