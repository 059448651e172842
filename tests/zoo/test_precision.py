"""Numeric modes: which vectors are whose, what is said of them, and what is refused."""

import json

import pytest
import torch

from core.errors import StrataError
from core.params import Extract
from core.precision import precision_of
from etl.extract import describe
from featurestore.query.sources import read_sources
from featurestore.tables.log import snapshot
from featurestore.tables.schema import EXTRACTIONS
from featurestore.tables.writer import TableWriter
from tests.bundles import QUICK, made_model, sealed
from zoo import extraction
from zoo.backbones.check import examples
from zoo.bundle import load_bundle, save_bundle
from zoo.extraction import extraction_id, make_engine, notice, provenance
from zoo.hub import backbone_of, load_card

SOURCE = "alignn_mp_eform"


def test_ids_of_vectors_that_are_kept_stay():
    """They are those of stores made before bfloat16; a new one would mean that every vector is made anew."""
    ids = {
        (name, mode): extraction_id(load_card(name), mode)
        for name in (SOURCE, "chgnet")
        for mode in ("float32", "tf32")
    }
    assert ids == {
        (SOURCE, "float32"): "95a8a0340d14757d",
        (SOURCE, "tf32"): "4a0f79b191d77652",
        ("chgnet", "float32"): "110f3b4d9136994e",
        ("chgnet", "tf32"): "7079139505ba48cd",
    }
    assert extraction_id(load_card(SOURCE), "bfloat16") not in ids.values()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("float32", {"tf32": "false"}),
        ("tf32", {"tf32": "true"}),
        ("bfloat16", {"tf32": "false", "precision": "bfloat16"}),
    ],
)
def test_the_store_says_and_reads_back_the_mode(tmp_path, mode, said):
    card = load_card(SOURCE)
    facts = provenance(card, Extract(precision=mode))
    assert {key: facts[key] for key in ("tf32", "precision") if key in facts} == said
    assert precision_of(facts) == mode
    with TableWriter(tmp_path, EXTRACTIONS, "extract") as writer:
        describe(writer, backbone_of(card), facts, is_default=True)
    assert read_sources([snapshot(tmp_path)])[SOURCE].precision == mode


def test_a_network_without_the_mode_says_which_it_has():
    wanted = r"precision is bfloat16, and chgnet has float32, tf32: choose.*leave the network out"
    with pytest.raises(StrataError, match=wanted):
        extraction_id(load_card("chgnet"), "bfloat16")
    with pytest.raises(StrataError, match=wanted):
        make_engine("chgnet", Extract(precision="bfloat16", device="cpu"))
    with pytest.raises(StrataError, match="backend to torch"):
        make_engine(
            SOURCE, Extract(precision="bfloat16", device="cpu", backbones={"alignn": {"backend": "dgl"}})
        )


def test_what_has_no_products_has_one_mode(tmp_path):
    card = load_card("magpie")
    facts = {mode: provenance(card, Extract(precision=mode)) for mode in ("float32", "bfloat16", "tf32")}
    assert facts["float32"] == facts["bfloat16"] == facts["tf32"]
    with TableWriter(tmp_path, EXTRACTIONS, "extract") as writer:
        describe(writer, backbone_of(card), facts["bfloat16"], is_default=True)
    assert read_sources([snapshot(tmp_path)])["magpie"].precision is None
    assert make_engine("magpie", Extract(precision="bfloat16"))(examples()).errors == {}


@pytest.mark.parametrize("fast", [True, False])
def test_a_processor_without_such_products_is_told(monkeypatch, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast})
    settings = Extract(precision="bfloat16", device="cpu")
    said = notice(SOURCE, settings)
    assert (said is None) == fast
    assert fast or "this processor has no products in it" in str(said)
    assert notice(SOURCE, Extract(device="cpu")) is None
    assert notice("magpie", settings) is None


def test_a_process_that_needs_no_bfloat16_does_not_ask_torch(monkeypatch):
    monkeypatch.setattr(extraction, "device_of", lambda *_: pytest.fail("it asked"))
    assert notice(SOURCE, Extract(precision="tf32")) is None


def test_bundles_of_before_say_tf32(tmp_path):
    folder = save_bundle(made_model("magpie"), tmp_path / "one")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("precision") == "float32"
    for tf32, mode in ((False, "float32"), (True, "tf32")):
        path.write_text(json.dumps(config | {"tf32": tf32}))
        assert load_bundle(sealed(folder), QUICK).settings.precision == mode
    path.write_text(json.dumps(config))
    with pytest.raises(StrataError, match="precision"):
        load_bundle(sealed(folder), QUICK)
