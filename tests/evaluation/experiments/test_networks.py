"""Experiments with networks: transfer and several properties at once, on the elements, for two epochs."""

import pytest

from core.errors import StrataError
from evaluation.experiments import run
from evaluation.experiments.transfer import group_of, headline
from featurestore.tables.log import snapshot

VOLUME = {"ase_elements": ["volume"]}


@pytest.mark.slow
def test_transfer_lays_base_scratch_and_transfer_side_by_side(elements, ask_elements, tmp_path):
    section = {
        "targets": VOLUME,
        "trained": VOLUME,
        "heads": ["ridge"],
        "seeds": [0, 1],
        "trained_seeds": [0],
    }
    params = ask_elements(transfer=section)
    result = run("transfer", params, elements, tmp_path)
    (row,) = result.tables["table"].to_dict("records")
    assert (row["group"], row["unit"], row["rows"], row["splits"]) == (
        "3D, computed and measured",
        "Å³/atom",
        71,
        1,
    )
    assert row["interval"] == "entries"
    assert row["change"] == pytest.approx(100 * (row["transfer"] / row["scratch"] - 1))
    assert row["change_low"] <= row["change"] <= row["change_high"]
    scores = result.tables["scores"]
    assert scores.groupby(["seed", "role"]).size().to_dict() == {
        (0, "base"): 1, (0, "chosen"): 1, (0, "scratch"): 1, (1, "base"): 1, (1, "chosen"): 1,
    }  # fmt: skip
    losses = result.tables["training"]
    assert set(losses["method"]) == {"scratch", "finetune"}
    assert losses["epochs"].tolist() == [2, 2]
    assert (losses["last_epoch_mae"] > 0).all()
    assert (losses["base_train_mae"] > 0).all()
    assert result.metrics["random"]["with_scratch"] == 1

    runs = elements / "experiments" / "transfer" / "finetune" / "ase_elements" / "runs"
    version, files = snapshot(runs).version, sorted((tmp_path / "transfer").iterdir())
    before = {path.name: path.read_bytes() for path in files}
    run("transfer", params, elements, tmp_path)
    assert snapshot(runs).version == version  # nothing was trained again
    assert {path.name: path.read_bytes() for path in files} == before


@pytest.mark.slow
def test_several_properties_at_once(elements, ask_elements, tmp_path):
    section = {"targets": {"ase_elements": ["bulk_modulus", "volume"]}, "seeds": [0], "heads": []}
    result = run("multi_property", ask_elements(multi_property=section), elements, tmp_path)
    table = result.tables["table"]
    assert table[["property", "training"]].to_numpy().tolist() == [
        ["bulk_modulus", "joint"], ["bulk_modulus", "single"], ["volume", "joint"], ["volume", "single"],
    ]  # fmt: skip
    assert table["scratch"].notna().all()
    assert set(table["method"]) == {"finetune"}
    wide = table.pivot_table(index="property", columns="training", values="scratch")
    assert (wide["joint"] != wide["single"]).all()
    assert table.groupby("property")["base"].nunique().tolist() == [1, 1]


def test_one_property_is_not_several(elements, ask_elements, tmp_path):
    with pytest.raises(StrataError, match="ase_elements names 1 properties; joint training takes two"):
        run("multi_property", ask_elements(multi_property={"targets": VOLUME}), elements, tmp_path)


def test_groups_come_from_the_cards():
    assert group_of("ase_g2") == "molecule, computed and measured" or group_of("ase_g2").startswith(
        "molecule"
    )
    assert group_of("nobody_knows") == "own data"


def test_headline_counts_winners():
    import pandas as pd

    columns = ["property", "base", "scratch", "transfer", "change", "base_change", "winner"]
    rows = [("p", 4.0, 2.0, 1.0, -50.0, -75.0, "finetune"), ("q", 4.0, 2.0, 3.0, 50.0, -25.0, "scratch")]
    table = pd.DataFrame(rows, columns=columns).assign(dataset="d", scheme="random")
    found = headline(table)["random"]
    assert (found["targets"], found["with_scratch"], found["below_scratch"], found["below_base"]) == (
        2,
        2,
        1,
        2,
    )
    assert found["winners"] == {"finetune": 1, "scratch": 1}
