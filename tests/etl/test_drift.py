import numpy as np
import pyarrow as pa
import pytest

from core.errors import StrataError
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.schema import EXTRACTIONS, features_schema
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter

pytest.importorskip("torch")

from core.params import Params
from etl.drift import drift
from etl.extract import describe, extract
from etl.ingest import ingest
from tests.engines import CHECKPOINTS, SOURCE
from tests.stores import COUNTS
from zoo.backbones.alignn.backbone import ALIGNN
from zoo.extraction import extraction_id
from zoo.hub import load_card

FEATURES = features_schema(COUNTS, CHECKPOINTS)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small store whose vectors this very code made."""
    root = tmp_path_factory.mktemp("drift") / "store"
    params = Params.model_validate({"datasets": ["ase_elements"], "extract": {"workers": 0, "threads": 1}})
    ingest("ase_elements", params, root)
    extract(params, root)
    return root


def replaced(root, tmp_path, change=None, **provenance):
    """A copy of the store in which vectors or their provenance are others."""
    copy = tmp_path / "store"
    for kind in ("structures", "entries"):
        (copy / kind).mkdir(parents=True)
        (copy / kind / "ase_elements").symlink_to(root / kind / "ase_elements")
    (shard,) = snapshot(StoreLayout(root).features(SOURCE)).shards
    table = read_columns(StoreLayout(root).features(SOURCE) / shard.path, FEATURES.names).cast(FEATURES)
    if change is not None:
        i = table.schema.get_field_index("bond_3")
        flat = change(table["bond_3"].combine_chunks().flatten().to_numpy().copy())
        table = table.set_column(
            i,
            FEATURES.field(i),
            pa.FixedSizeListArray.from_arrays(pa.array(flat), type=FEATURES.field(i).type),
        )
    with TableWriter(StoreLayout(copy).features(SOURCE), FEATURES, "test") as writer:
        writer.commit("all", table, provenance={**shard.provenance, **provenance})
    with TableWriter(StoreLayout(copy).extractions(SOURCE), EXTRACTIONS, "test") as writer:
        describe(writer, ALIGNN(), shard.provenance, is_default=True)
    return copy


def test_the_same_code_gives_the_same_vectors(root):
    found = drift(root, sample=20)
    assert found.agrees
    assert found.structures == 20
    assert found.kept_by == found.here
    assert "as recorded" in str(found)


def test_a_moved_number_is_found_and_placed(root, tmp_path):
    def change(flat):
        flat[5::256] += 0.5
        return flat

    found = drift(replaced(root, tmp_path, change, torch="1.0"), sample=10)
    assert not found.agrees
    assert found.checkpoint == "bond_3"
    assert "DRIFTED" in str(found)
    assert "torch 1.0 → " in str(found)


def test_rounding_is_no_drift(root, tmp_path):
    assert drift(replaced(root, tmp_path, lambda flat: flat * np.float32(1 + 1e-6)), sample=10).agrees


def test_another_source_model_is_not_compared(root, tmp_path, monkeypatch):  # row 10
    monkeypatch.setattr(ALIGNN, "code_schema", 999)
    with pytest.raises(StrataError, match=r"made by another alignn_mp_eform .*another code schema"):
        drift(root)
    with pytest.raises(StrataError, match=r"weights_sha256: kept abc, the card has [0-9a-f]{64}"):
        drift(replaced(root, tmp_path, weights_sha256="abc"))


def test_one_weight_or_graph_setting_is_another_extraction():  # rows 10, 11
    card = load_card("alignn_mp_eform")
    others = [
        card.model_copy(update={"weights_sha256": "0" * 64}),
        card.model_copy(update={"graph": card.graph.model_copy(update={"cutoff": 6.0})}),
    ]
    assert len({extraction_id(one) for one in (card, *others)} | {extraction_id(card, "tf32")}) == 4


@pytest.mark.parametrize(
    ("given", "says"), [({"sample": 0}, "one structure"), ({"source_model": "x"}, "unknown source model")]
)
def test_what_cannot_be_sampled(root, given, says):
    with pytest.raises(StrataError, match=says):
        drift(root, **given)
