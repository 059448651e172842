"""Fitted models lie under hashes of the log: a flipped bit is found, and repair makes room for a new fit."""

import pytest

import featurestore
from core.errors import StrataError
from core.params import parse
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.maintenance import drop_runs, verify
from featurestore.tables.models import model_folder
from heads.fit import fit
from tests.stores import SOURCE, small_store

PARAMS = parse(
    {
        "extract": {"source_models": [SOURCE]},
        "fit": {"heads": ["mean", "ridge"], "properties": {"alpha": ["energy"]}, "composition": None},
    }
)


@pytest.fixture
def fitted(tmp_path):
    root = small_store(tmp_path / "store")
    return root, fit("alpha", PARAMS, root)


def models(root):
    query = "SELECT head, run_id, model_path, model_sha256 FROM runs ORDER BY head, seed"
    return featurestore.open(root).sql(query).fetchall()


def test_a_flipped_bit_of_a_model_is_found_and_its_run_made_again(fitted):
    root, report = fitted
    assert verify(root).models == 4
    run_id, path = next((run, path) for head, run, path, _ in models(root) if head == "ridge")
    file = root / path / "arrays.safetensors"
    before = file.read_bytes()
    file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    (found,) = verify(root).damaged_models
    assert found.run_id == run_id
    assert "arrays.safetensors" in str(found)
    drop_runs([found])
    assert len(models(root)) == 3
    assert run_id not in snapshot(StoreLayout(root).predictions("alpha")).by_key
    again = fit("alpha", PARAMS, root)
    assert [run.run_id for run in again.runs] == [run.run_id for run in report.runs]
    assert again.new == 1
    assert file.read_bytes() == before
    assert not verify(root).damaged_models


def test_a_rewritten_list_of_hashes_is_found_too(fitted):
    root, _ = fitted
    path = models(root)[0][2]
    (root / path / "more").touch()
    (root / path / "SHA256SUMS").write_text("")
    (found,) = verify(root).damaged_models
    assert "SHA256SUMS has another SHA-256" in found.what


def test_a_model_that_is_gone_is_named_and_tables_copied_without_models_are_not(fitted):
    root, _ = fitted
    path = root / models(root)[0][2]
    path.rename(root / "elsewhere")
    (found,) = verify(root).damaged_models
    assert "SHA256SUMS is missing" in found.what
    path.parent.rename(root / "all")
    assert verify(root).models == 0


@pytest.mark.parametrize("path", ["../../x", "/etc", "", "a/../../b"])
def test_a_path_in_a_row_that_leads_out_of_the_store_is_refused(tmp_path, path):
    with pytest.raises(StrataError, match="not in the store"):
        model_folder(tmp_path, path)
