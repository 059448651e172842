"""What a store says of its datasets."""

import pytest

import featurestore
from core.errors import StrataError
from core.params import Params
from etl.ingest import ingest
from featurestore.query.facts import PropertyFacts
from tests.two_datasets import ingested


def test_a_dataset_says_what_its_card_said(tmp_path):
    ingest("ase_elements", Params(), tmp_path / "store")
    store = featurestore.open(tmp_path / "store")
    facts = store.facts("ase_elements")
    assert (facts.dataset, facts.provider, facts.material_class) == ("ase_elements", "ase_collections", "3D")
    assert facts.title
    assert facts.citation
    assert set(facts.properties) == set(store.properties("ase_elements"))
    assert {name: item.unit for name, item in facts.properties.items()} == store.properties("ase_elements")
    asked = store.sql(
        "SELECT property, unit, description, origin, paper_name, transform FROM properties"
    ).fetchall()
    assert {name: PropertyFacts(*rest) for name, *rest in asked} == facts.properties
    assert store.sql("SELECT title, licence FROM datasets").fetchall() == [(facts.title, facts.licence)]


def test_the_card_of_today_is_not_asked(tmp_path, monkeypatch):
    root = ingested(tmp_path, monkeypatch)
    (tmp_path / "one.yaml").unlink()
    assert featurestore.open(root).facts("one").licence == "l"


def test_a_store_without_the_row_has_empty_words_and_the_units_of_its_targets(store_root):
    facts = featurestore.open(store_root).facts("alpha")
    assert (facts.title, facts.licence, facts.doi, facts.version) == ("", "", None, None)
    assert facts.properties == {"energy": PropertyFacts("eV"), "gap": PropertyFacts("eV")}


def test_an_unknown_dataset(store_root):
    with pytest.raises(StrataError, match="did you mean 'alpha'"):
        featurestore.open(store_root).facts("alhpa")
