"""Methods that do not predict the same entries are compared on those that all of them predict."""

import json

import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from evaluation.current_runs import runs_of
from evaluation.evaluate import evaluate, notes
from evaluation.rows import common_rows
from tests.evaluation.conftest import DATASET, PARTS, N, name_of, targets_of

VAL = [i for i in range(N) if PARTS[i] == "val"]
TEST = [i for i in range(N) if PARTS[i] == "test"]
Y = targets_of("volume")


def add(small, run_id: str, errors: dict[int, float], lacks: list[int], **changes) -> None:
    """Add a run on another source model's vectors that says nothing of the rows `lacks`."""
    predicted = Y + np.array([errors.get(i, 0.0) for i in range(N)])
    of_val = [abs(errors.get(i, 0.0)) for i in VAL if i not in lacks]
    small.add_run(
        run_id, "volume", "ridge", predicted, lacks=lacks, val_mae=float(np.mean(of_val)),
        source_model="other", feature_set="all", n_val=len(of_val), n_test=10 - len(set(lacks) & set(TEST)),
        **changes,
    )  # fmt: skip


def scored(small) -> dict[str, dict]:
    return {s.role: s for s in evaluate(small.params, small.store, small.root) if s.property == "volume"}


def shared(small):
    store = featurestore.open(small.store)
    return common_rows(store, runs_of(store, DATASET))


def test_methods_that_predict_the_same_are_left_as_they_are(small):
    assert shared(small) == {}
    assert notes(small.params, small.store) == []
    found = scored(small)
    assert {s.left_out for s in found.values()} == {0}
    metrics = json.loads((small.root / "metrics.json").read_text())
    assert metrics[DATASET]["volume"]["random-0"]["rows_left_out"] == 0


def test_scores_are_of_the_rows_that_all_predict(small):
    # one test entry that the other model rejected is far off for Base: it counts for nobody
    add(small, "other", {}, [TEST[-1]])
    found = scored(small)
    assert {role: (s.score.n, s.left_out) for role, s in found.items()} == {"chosen": (9, 1), "base": (9, 1)}
    mean = Y[:40].mean()
    assert found["base"].score.mae == pytest.approx(np.abs(Y[TEST[:-1]] - mean).mean())
    assert name_of(TEST[-1]) not in set(found["base"].predictions["entry_id"])
    metrics = json.loads((small.root / "metrics.json").read_text())
    assert metrics[DATASET]["volume"]["random-0"]["rows_left_out"] == 1
    assert metrics[DATASET]["volume"]["random-0"]["n"] == 9
    said, _ = notes(small.params, small.store)  # the other: there are no vectors for intervals
    assert said.startswith("ase_elements/volume, random: 1 of 10 test rows are left out")


def test_a_method_gains_nothing_by_leaving_out_what_is_hard(small):
    # alone its validation MAE is 0.9, ridge's is 1; on the nine that both predict ridge's is 0.5
    hard = VAL[0]
    easy = dict.fromkeys(VAL[1:], 0.5) | {hard: 5.5}
    ridge = np.array([easy.get(i, 0.0) for i in range(N)])
    small.add_run("volume-fair", "volume", "ridge", Y + ridge, val_mae=1.0)
    add(small, "other", dict.fromkeys(VAL[1:], 0.9), [hard])
    found = scored(small)
    assert found["chosen"].run_id == "volume-fair"
    assert found["chosen"].val_mae == pytest.approx(0.5)
    assert (found["chosen"].score.n, found["chosen"].left_out) == (10, 0)


def test_the_validation_mae_of_methods_elsewhere_stays_to_the_bit(small):
    before = {s.run_id: s.val_mae for s in evaluate(small.params, small.store, small.root)}
    add(small, "other", dict.fromkeys(VAL, 9.0), [VAL[0]])
    after = {s.run_id: s.val_mae for s in evaluate(small.params, small.store, small.root)}
    assert before["bulk_modulus-ridge"] == after["bulk_modulus-ridge"]


def test_a_method_that_lacks_more_than_half_takes_no_part(small):
    add(small, "other", {}, TEST[:6])  # the best on the validation part
    found = scored(small)
    assert found["chosen"].run_id == "volume-ridge"
    assert (found["chosen"].score.n, found["chosen"].val_mae) == (10, 1.0)
    said, _ = notes(small.params, small.store)  # the other: there are no vectors for intervals
    assert said == (
        "ase_elements/volume, random: ridge on other/all lacks more than half of the rows, and is left out."
    )


def test_half_of_the_rows_is_enough(small):
    add(small, "other", {}, TEST[:5])
    assert scored(small)["chosen"].score.n == 5


def test_methods_without_a_common_row_are_an_error(small):
    add(small, "other", {}, TEST[:5])
    add(small, "third", {}, TEST[5:])
    with pytest.raises(StrataError, match=r"volume, random-0-0: no test entry is predicted by all methods"):
        evaluate(small.params, small.store, small.root)


def test_methods_of_which_each_lacks_more_than_half_are_an_error(small):
    for k in range(3):
        add(small, f"third-{k}", {}, [i for i in TEST if i % 3 != k])
    store = featurestore.open(small.store)
    runs = runs_of(store, DATASET)
    with pytest.raises(StrataError, match="each method lacks more than half of the rows"):
        common_rows(store, runs[runs["run_id"].str.startswith("third")])


def test_no_test_target_is_read_to_find_the_rows(small, monkeypatch):
    add(small, "other", {}, [TEST[0], VAL[0]])
    store = featurestore.open(small.store)
    asked = []
    real = store.sql
    monkeypatch.setattr(store, "sql", lambda query, params=None: asked.append(query) or real(query, params))
    common_rows(store, runs_of(store, DATASET))
    assert asked
    assert not any("targets" in query for query in asked)
