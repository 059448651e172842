"""Learning curve, extrapolation, cross-validation and source models on heads alone."""

import math

import pandas as pd
import pytest

from core.errors import StrataError
from evaluation.experiments import run
from evaluation.experiments.cross_validation import tests as fold_tests


def test_learning_curve_has_one_test_part_and_fewer_rows_a_rung(synthetic, ask, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "splits": ["ladder"], "heads": ["ridge"], "seeds": [0, 1]}
    table = run("learning_curve", ask(learning_curve=section), synthetic, tmp_path).tables["table"]
    assert table["n_train"].tolist() == sorted(table["n_train"])
    assert table["n_train"].iloc[-1] == 32
    assert table["n_test"].unique().tolist() == [4]
    assert table["splits"].unique().tolist() == [2]


def test_extrapolation_tests_on_the_lowest(synthetic, ask, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "splits": ["extrapolation", "random"], "heads": ["ridge"]}
    result = run("extrapolation", ask(extrapolation=section), synthetic, tmp_path)
    points = result.tables["points"]
    low = points[points["scheme"] == "extrapolation"]["actual"]
    assert low.max() <= points[points["scheme"] == "random"]["actual"].min() or len(low) == 2 * 4
    assert set(points["seed"]) == {0}
    assert set(result.tables["table"]["scheme"]) == {"extrapolation", "random"}


def test_cross_validation_tests_nine_folds(synthetic, ask, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "splits": ["kfold"], "heads": ["ridge"], "seeds": [0]}
    (row,) = (
        run("cross_validation", ask(cross_validation=section), synthetic, tmp_path)
        .tables["table"]
        .to_dict("records")
    )
    assert (row["against"], row["folds"]) == ("base", 9)
    assert row["difference"] == pytest.approx(row["transfer"] - row["mean"])
    assert row["low"] < row["difference"] < row["high"]


def looks(*rows: tuple) -> pd.DataFrame:
    """Looks from (role, fold, test_mae)."""
    frame = pd.DataFrame(rows, columns=["role", "fold", "test_mae"])
    frame["method"] = frame["role"].map({"chosen": "finetune"}).fillna(frame["role"])
    return frame.assign(
        dataset="d",
        property="p",
        scheme="kfold",
        seed=0,
        unit="eV",
        n_train=80,
        n_test=10,
        head="h",
        label=None,
        seen=None,
    )


def test_difference_of_three_folds_by_hand():
    rows = [("scratch", k, 1.0) for k in range(3)] + [("chosen", k, e) for k, e in enumerate((0.8, 0.5, 0.2))]
    (row,) = fold_tests(looks(*rows)).to_dict("records")
    # the worked case of test_statistics: differences -0.2, -0.5, -0.8
    t = -0.5 / math.sqrt((1 / 3 + 10 / 80) * 0.09)
    assert row["t"] == pytest.approx(t, rel=1e-9)
    assert row["p_value"] == pytest.approx(1 - abs(t) / math.sqrt(2 + t * t), rel=1e-9)
    assert (row["better"], row["method"], row["against"]) == (3, "finetune", "scratch")


def test_source_models_stand_side_by_side(synthetic, ask, tmp_path):
    section = {
        "targets": {"alpha": ["energy"]},
        "heads": ["ridge"],
        "seeds": [0, 1],
        "source_models": ["synthetic"],
    }
    result = run("source_models", ask(source_models=section), synthetic, tmp_path)
    assert result.tables["table"]["source"].tolist() == ["synthetic"]
    assert any("One source model" in note for note in result.notes)


def test_two_source_models(tmp_path, ask):
    from featurestore.tables.layout import StoreLayout
    from featurestore.tables.writer import TableWriter
    from tests.stores import describe, features, small_store

    root = small_store(tmp_path / "store", splits=False)
    other = features(range(50), "f" * 16, seed=9)
    named = other.set_column(2, other.schema.field(2), [["noise"] * 50])
    describe(root, "f" * 16, "noise", is_default=False)
    with TableWriter(StoreLayout(root).features("noise"), other.schema, "extract") as writer:
        writer.commit("noise", named, (), {"extraction_id": "f" * 16, "source_model": "noise"})
    section = {
        "targets": {"alpha": ["energy"]},
        "heads": ["ridge"],
        "seeds": [0],
        "source_models": ["noise", "synthetic"],
    }
    table = (
        run("source_models", ask(source_models=section), root, tmp_path).tables["table"].set_index("source")
    )
    assert table.index.tolist() == ["noise", "synthetic"]
    assert table.loc["synthetic", "transfer"] != table.loc["noise", "transfer"]
    assert table["base"].nunique() == 1


def test_a_source_model_without_vectors_names_the_command(synthetic, ask, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "source_models": ["missing"]}
    with pytest.raises(StrataError, match=r"no vectors by missing.*strata extract"):
        run("source_models", ask(source_models=section), synthetic, tmp_path)
