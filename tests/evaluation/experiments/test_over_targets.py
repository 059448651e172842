"""Significance and the effect of size, read off a table of transfer whose numbers are known."""

import math

import pandas as pd
import pytest

from evaluation.experiments import run
from evaluation.experiments.results import read
from evaluation.experiments.significance import pair_tests, rank_table
from evaluation.experiments.size_effect import changes, histogram, summaries
from evaluation.experiments.workspace import Workspace
from featurestore.splits.schemes import split_dataset


@pytest.fixture
def table() -> pd.DataFrame:
    """Five targets; transfer halves scratch in four and is worse in one; the fifth has no scratch."""
    rows = [
        ("a", 100, 4.0, 2.0, 1.0),
        ("b", 200, 4.0, 2.0, 1.0),
        ("c", 400, 4.0, 2.0, 1.0),
        ("d", 800, 4.0, 2.0, 3.0),
    ]
    frame = pd.DataFrame(
        [*rows, ("e", 50, 4.0, None, 8.0)], columns=["property", "rows", "base", "scratch", "transfer"]
    )
    frame = frame.assign(group="g", dataset="x", scheme="random", method="ridge", label=None)
    for prefix, other in (("", "scratch"), ("base_", "base")):
        frame[f"{prefix}change"] = 100 * (frame["transfer"] / frame[other] - 1)
        frame[f"{prefix}change_low"] = frame[f"{prefix}change"] - 1
        frame[f"{prefix}change_high"] = frame[f"{prefix}change"] + 1
    return frame


def test_sign_and_wilcoxon_by_hand(table):
    found = pair_tests(table).set_index("against")
    scratch = found.loc["scratch"]
    assert (scratch["targets"], scratch["gains"], scratch["losses"]) == (4, 3, 1)
    assert scratch["sign_p"] == pytest.approx((4 + 1) / 2**4, rel=1e-9)
    # |ln 1.5| is the smallest, so that W+ is its rank, 1; the three ties share theirs
    assert scratch["wilcoxon"] == 1.0
    base = found.loc["base"]
    assert (base["targets"], base["gains"]) == (5, 4)
    assert base["sign_p"] == pytest.approx((5 + 1) / 2**5, rel=1e-9)


def test_ranks_over_all_targets_and_over_those_with_networks(table):
    errors = table[["dataset", "property", "scheme", "base", "scratch", "transfer"]].melt(
        ["dataset", "property", "scheme"], var_name="method", value_name="mae"
    )
    ranks = rank_table(errors, "test", 0.05)
    assert set(ranks["over"]) == {"targets with networks"}  # two methods alone are no ranking
    by_method = ranks.set_index("method")["rank"]
    assert by_method["transfer"] == pytest.approx((1 + 1 + 1 + 2) / 4)
    assert by_method["scratch"] == pytest.approx((2 + 2 + 2 + 1) / 4)
    assert by_method["base"] == 3.0


def test_size_effect_by_hand(table):
    points = changes(table)
    assert len(points) == 4 + 5
    summary = summaries(points).set_index("against").loc["scratch"]
    assert (summary["mean"], summary["median"], summary["minimum"], summary["maximum"]) == (
        -25.0,
        -50.0,
        -50.0,
        50.0,
    )
    assert summary["sd"] == pytest.approx(math.sqrt((3 * 25**2 + 75**2) / 3))
    # ranks of change 2 2 2 4 against 1 2 3 4
    assert summary["rho_rows"] == pytest.approx((-0.5 * (-1.5 - 0.5 + 0.5) + 1.5 * 1.5) / math.sqrt(5 * 3))
    bars = histogram(points, bins=4)
    assert bars[bars["against"] == "scratch"]["count"].tolist() == [3, 0, 0, 1]


def test_both_run_on_what_transfer_finds(synthetic, ask, tmp_path):
    section = {"heads": ["ridge", "lightgbm"], "seeds": [0], "splits": ["random"]}
    params = ask(transfer=section)
    tests = run("significance", params, synthetic, tmp_path)
    assert tests.tables["table"]["targets"].tolist() == [4]
    assert set(tests.tables["ranks"]["method"]) == {"mean", "ridge", "lightgbm"} - {"mean"} | {"base"}
    assert (tmp_path / "transfer" / "table.csv").exists()
    size = run("size_effect", params, synthetic, tmp_path)
    assert size.tables["points"]["against"].unique().tolist() == ["base"]
    assert size.tables["histogram"]["count"].sum() == 4


@pytest.mark.slow
def test_what_transfer_wrote_is_read_while_settings_and_store_are_the_same(
    synthetic, ask, tmp_path, monkeypatch
):
    section = {"targets": {"alpha": ["energy"]}, "heads": ["ridge"], "seeds": [0]}
    params = ask(transfer=section)
    first = run("transfer", params, synthetic, tmp_path)
    split_dataset(synthetic / "experiments" / "transfer", "alpha", ("random",), (7,))
    again = run("transfer", params, synthetic, tmp_path)  # draws its own splits again
    assert first.tables["table"].equals(again.tables["table"])
    assert first.key == again.key == read("transfer", tmp_path).key != ""
    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "all_runs", lambda _self: pytest.fail("laid out again"))
        run("size_effect", params, synthetic, tmp_path)
        run("significance", ask(transfer=section, significance={"alpha": 0.1}), synthetic, tmp_path)
        with pytest.raises(pytest.fail.Exception):
            run("size_effect", ask(transfer=section | {"seeds": [1]}), synthetic, tmp_path)
        with pytest.raises(pytest.fail.Exception):
            run("size_effect", params, synthetic, tmp_path / "elsewhere")
        split_dataset(synthetic / "experiments" / "transfer", "alpha", ("random",), (8,))
        with pytest.raises(pytest.fail.Exception):
            run("size_effect", params, synthetic, tmp_path)
    run("size_effect", params, synthetic, tmp_path)
    assert read("transfer", tmp_path).key == again.key
