import json

import pytest

from core.errors import StrataError
from evaluation import training_data
from evaluation.report.dataset_facts import as_json, data_report
from featurestore.splits.duplicates import update
from tests.two_datasets import ingested


@pytest.fixture
def store(tmp_path, monkeypatch):
    return ingested(tmp_path, monkeypatch)


def test_the_report(store):
    [facts] = data_report(store, ["one"])
    assert (facts.entries, facts.structures, facts.rejects) == (4, 4, {"no_features": 1})
    gap, modulus = facts.properties
    assert (gap.name, gap.unit, gap.values, gap.missing, gap.not_finite) == ("gap", "eV", 3, 1, 0)
    assert (modulus.values, modulus.missing, modulus.not_finite) == (2, 1, 1)
    assert gap.quantiles == pytest.approx((1.0, 1.1, 1.5, 2.0, 3.0, 3.8, 4.0))
    assert facts.atoms == (2.0,) * 7
    assert facts.elements == {"Na": 4, "Cl": 4}
    assert facts.shared == {"two": 1}
    assert facts.shared_crystals is None
    update(store)
    [facts] = data_report(store, ["one"])
    assert facts.shared_crystals == {"two": 2}


def test_the_report_as_text_and_as_json(store):
    from rich.console import Console

    update(store)
    facts = data_report(store)
    console = Console(width=160)
    with console.capture() as captured:
        for item in facts:
            console.print(item)
    text = captured.get()
    for part in (
        "one: 4 entries, 4 structures",
        "rejected: 1 no_features",
        "1 the same structure, 2 the same crystal",
    ):
        assert part in text
    assert [item["name"] for item in json.loads(as_json(facts))] == ["one", "two"]


def test_a_dataset_that_the_store_does_not_have(store):
    with pytest.raises(StrataError, match="unknown dataset 'three'"):
        data_report(store, ["three"])


def test_what_the_source_model_has_seen(store, monkeypatch):
    from zoo import hub

    source = hub.load_card("alignn_mp_eform")
    learned = source.training.model_copy(update={"structures": (hub.LearnedFrom(dataset="two"),)})
    trained = source.model_copy(update={"training": learned})
    monkeypatch.setattr(training_data, "load_card", lambda _: trained)
    [facts] = data_report(store, ["one"], "alignn_mp_eform")
    assert (facts.trained_on, facts.in_training) == ("all of two", 1)
    update(store)
    [facts] = data_report(store, ["one"], "alignn_mp_eform")
    assert facts.in_training == 2
    monkeypatch.undo()
    [facts] = data_report(store, ["one"], "alignn_mp_eform")  # megnet is not in this store
    assert facts.trained_on is None


def test_a_store_without_datasets(tmp_path):
    with pytest.raises(StrataError, match="ingest one first"):
        data_report(tmp_path / "store")
