"""What is known of the structures that a source model was trained on."""

import pyarrow as pa
import pytest

import featurestore
from evaluation import training_data as module
from evaluation.training_data import training_data
from featurestore import TableWriter
from featurestore.tables.schema import EXTRACTIONS
from featurestore.tables.shards import Chunk
from tests.evaluation.conftest import DATASET, MEGNET, add_megnet, crystal
from zoo.hub import LearnedFrom, Training, load_card

SOURCE = "alignn_mp_eform"


@pytest.fixture
def store(leaky):
    add_megnet(leaky)
    return featurestore.open(leaky.store)


def of(*parts: LearnedFrom | dict, monkeypatch) -> None:
    """Let the card of the source model name these structures."""
    card = load_card(SOURCE)
    named = Training(data="d", settings="s", attribution="a", structures=parts)
    monkeypatch.setattr(module, "load_card", lambda _: card.model_copy(update={"training": named}))


def test_the_published_training_part_is_found_where_nothing_drew_it(store, monkeypatch):
    of(
        {"dataset": "megnet", "property": "formation_energy", "split": "published:0", "count": 1},
        monkeypatch=monkeypatch,
    )
    data = training_data(store, SOURCE)
    (trained,) = [i for part, i in MEGNET.values() if part == "train"]
    assert data.structure_ids == {crystal(trained, other_cell=True)["structure_id"]}
    assert data.is_known
    assert not data.is_at_most
    assert data.described == "1 of the training part of megnet/formation_energy, published:0"


def test_a_drawn_training_part_is_found_by_its_split(store, monkeypatch):
    of({"dataset": DATASET, "property": "volume", "split": "random:0", "count": 30}, monkeypatch=monkeypatch)
    data = training_data(store, SOURCE)
    assert data.structure_ids == {crystal(i)["structure_id"] for i in range(40)}
    assert data.is_at_most  # 30 of these 40


def test_of_a_split_that_the_store_has_not_the_whole_dataset_is_taken(store, monkeypatch):
    for name, split in (("volume", "random:7"), ("gap", "random:0"), ("volume", "published:0")):
        of({"dataset": DATASET, "property": name, "split": split}, monkeypatch=monkeypatch)
        data = training_data(store, SOURCE)
        assert len(data.structure_ids) == 60
        assert data.is_at_most
        assert f"the store has no split {DATASET}/{name}, {split}" in data.described


def test_a_dataset_of_which_the_store_has_less_is_not_all_that_was_seen(store, monkeypatch):
    of({"dataset": "megnet", "count": 60_000, "note": "which ones is not known"}, monkeypatch=monkeypatch)
    data = training_data(store, SOURCE)
    assert len(data.structure_ids) == len(MEGNET)
    assert not data.is_known
    (line,) = data.missing
    assert "about 60,000 structures of megnet, and the store has 3" in line


def test_what_is_not_in_the_store_is_named_with_the_command_that_gets_it(leaky):
    data = training_data(featurestore.open(leaky.store), SOURCE)
    (line,) = data.missing
    assert line.endswith("get them with: strata ingest megnet")
    assert data.structure_ids == set()
    assert not data.is_known


def test_a_network_without_weights_has_seen_nothing(store):
    data = training_data(store, "magpie")
    assert (data.structure_ids, data.described, data.is_known) == (frozenset(), "nothing was trained", True)


def test_a_network_whose_structures_are_no_dataset_says_what_its_card_says(store):
    (line,) = training_data(store, "chgnet").missing
    assert "not known here: no dataset has it, and its card says: MPtrj: 1.58 million frames" in line


def test_a_network_without_a_card_is_not_known(store):
    data = training_data(store, "of_my_own")
    assert not data.is_known
    assert not data.has_card


def test_a_table_of_columns_has_seen_nothing(leaky):
    row = {"source_model": "own", "extraction_id": "0" * 16, "backbone": "columns", "is_default": False}
    row |= {"counts": [], "provenance": '{"columns": "a", "dataset": "ase_elements"}'}
    row |= {"checkpoints": [{"name": "columns_0", "kind": "columns", "depth": 0, "width": 1}]}
    with TableWriter(leaky.layout.extractions("own"), EXTRACTIONS, "columns") as writer:
        writer.replace({"own": Chunk(pa.Table.from_pylist([row], EXTRACTIONS))})
    data = training_data(featurestore.open(leaky.store), "own")
    assert data.is_known
    assert data.structure_ids == set()
