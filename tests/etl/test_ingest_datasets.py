"""Datasets as their providers publish them, and those that need no file."""

import os

import pytest

from core.params import Params
from etl import cards
from etl.ingest import ingest
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot


def rows(root, kind, name):
    return sum(shard.rows for shard in snapshot(StoreLayout(root / "store").table(kind, name)).shards)


@pytest.mark.parametrize(
    ("name", "entries", "values"),
    [
        ("ase_elements", 71, {"bulk_modulus": 71, "volume": 71, "bulk_modulus_measured": 58}),
        ("ase_g2", 148, {"formation_enthalpy": 148, "zero_point_energy": 148, "ionization_energy": 54}),
    ],
)
def test_embedded_datasets(tmp_path, name, entries, values):
    report = ingest(name, Params(), tmp_path / "store")
    assert (report.entries, report.structures, report.rejects) == (entries, entries, {})
    assert {key: counts["kept"] for key, counts in report.values.items()} == values
    assert rows(tmp_path, "entries", name) == entries


needs_raw = pytest.mark.skipif(
    "STRATA_RAW" not in os.environ, reason="STRATA_RAW names no folder of raw files"
)


@needs_raw
@pytest.mark.parametrize(
    ("name", "entries", "structures"),
    [("dielectric_constant", 1056, 1056), ("piezoelectric_tensor", 941, 940), ("jarvis_3d", 892, 871)],
)
def test_raw_files(tmp_path, name, entries, structures):
    params = Params.model_validate({"ingest": {"versions": {"jarvis_3d": "dft_3d_2022"}}})
    report = ingest(name, params, tmp_path / "store")
    assert (report.entries, report.structures, report.rejects) == (entries, structures, {})
    assert len(report.values) == len(cards.load_card(name).properties)
    columns = {cards.load_card(name).properties[key].column for key in report.counts()}
    assert len(columns) == {"dielectric_constant": 5, "piezoelectric_tensor": 2, "jarvis_3d": 25}[name]
    assert all(counts["kept"] for counts in report.counts().values())


@needs_raw
@pytest.mark.slow
def test_megnet(tmp_path):
    report = ingest("megnet", Params(), tmp_path / "store")
    assert (report.entries, report.rejects) == (36_476, {})
    assert rows(tmp_path, "targets", "megnet") == 2 * 36_476
