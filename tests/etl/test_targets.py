"""Every target of the paper, from a file in its published format to the store and out again."""

from functools import partial

import pytest

import featurestore
from core import download, source
from core.atomic import sha256_file
from core.composition import Composition
from core.params import Params
from etl.cards import load_card
from etl.ingest import ingest
from tests import published as files
from tests.published import FUNCTIONALS, QUANTITIES, ROWS, SCALARS_2D, SCALARS_3D, crystal, scalar, tensor


def component(i, j, row):
    return tensor(row)[i - 1][j - 1]


def mesh_mean(row):
    """⌊L·|b| + 1/2⌋ for the cells of `crystal`, by hand: edges a, a and 2a."""
    length = scalar(SCALARS_3D.index("kpoint_length_unit"), row)
    edge = 4.0 + row / 10
    counts = [int(length / side + 0.5) for side in (edge, edge, 2 * edge)]
    return sum(max(1, count) for count in counts) / 3


MADE = {
    "max_mode": lambda row: 50.0 + row,
    "min_mode": lambda row: -5.0 - row,
    "electron_mass_300k": lambda row: (0.6 + row) / 3,
    "hole_mass_300k": lambda row: (6.0 + row) / 3,
    "kpoint_mesh_mean": mesh_mean,
    "e_total_max": lambda row: 9.0 + row,
    "piezoelectric_norm": lambda row: 5.0 * (row + 1),
} | {f"elastic_c{i}{j}": partial(component, i, j) for i in range(1, 7) for j in range(1, 7)}

# Where a column that is taken as it is stands among the numbered ones of the fixture.
PLACES = {
    "jarvis_3d": SCALARS_3D,
    "jarvis_2d": SCALARS_2D,
    "dielectric_constant": ["band_gap", "n", "poly_electronic", "poly_total"],
    "flla": ["e_above_hull", "formation_energy", "formation_energy_per_atom"],
    "megnet": ["e_form", "gap pbe"],
    "piezoelectric_tensor": ["eij_max"],
    "expt_formation_enthalpy": ["e_form expt"],
    "expt_formation_enthalpy_kingsbury": ["expt_form_e"],
    "expt_gap_kingsbury": ["expt_gap"],
}


def expected(name, key, row):
    """What the store must hold, without asking the card how it derives it."""
    if key in MADE:
        return MADE[key](row)
    if name == "hopv":
        functional, _, quantity = key.partition("_")
        return scalar(10 * FUNCTIONALS.index(functional) + QUANTITIES.index(quantity), row)
    return scalar(PLACES[name].index(load_card(name).properties[key].column), row)


def publish(folder, name):
    card = load_card(name)
    path = folder / card.source.file
    for library in card.library:
        make = files.megnet if library.file == "megnet.json.zip" else files.megnet_2019
        make(folder / library.file)
    if name in ("jarvis_2d", "jarvis_3d"):
        files.jarvis(path, SCALARS_3D if name == "jarvis_3d" else SCALARS_2D)
    elif name in files.EXPERIMENTAL:
        files.experimental(path, name)
    else:
        {
            "hopv": files.hopv,
            "dielectric_constant": files.dielectric,
            "piezoelectric_tensor": files.piezoelectric,
            "flla": files.flla,
            "megnet": files.megnet,
        }[name](path)
    lock = "".join(f"{sha256_file(item)}  {item.name}\n" for item in sorted(folder.glob("*.json.*")))
    (folder / source.LOCK).write_text(lock)


# Dataset → targets, and how an entry of the fixture is called.
DATASETS = {
    "megnet": (2, "mp-{}"),
    "jarvis_3d": (46, "JVASP-{}"),
    "jarvis_2d": (32, "JVASP-{}"),
    "hopv": (24, None),
    "dielectric_constant": (5, "mp-{}"),
    "flla": (3, "mp-{}"),
    "piezoelectric_tensor": (2, "mp-{}"),
    "expt_formation_enthalpy": (1, "{}"),
    "expt_formation_enthalpy_kingsbury": (1, "{}"),
    "expt_gap_kingsbury": (1, "{}"),
}
HOPV_IDS = ["molecule 0", "molecule 0-2", "molecule 1", "molecule 1-2"]


@pytest.fixture
def raw_folder(tmp_path, monkeypatch):
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv(source.RAW_VARIABLE, str(folder))
    monkeypatch.setenv(source.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")
    return folder


def test_they_are_117():
    assert sum(count for count, _ in DATASETS.values()) == 117


@pytest.mark.parametrize("name", DATASETS)
def test_values_and_units_on_the_way_out(raw_folder, tmp_path, name):
    publish(raw_folder, name)
    report = ingest(name, Params(), tmp_path / "store")
    store = featurestore.open(tmp_path / "store")
    found = store.sql(
        "SELECT property, entry_id, value, unit FROM targets WHERE dataset = ?", [name]
    ).fetchall()
    values = {(key, entry): (value, unit) for key, entry, value, unit in found}
    count, pattern = DATASETS[name]
    card = load_card(name)
    checked = 0
    for key, item in card.properties.items():
        for row in range(ROWS):
            entry = HOPV_IDS[row] if pattern is None else pattern.format(row)
            value, unit = values.pop((key, entry))
            assert value == pytest.approx(expected(name, key, row), rel=1e-12), (key, entry)
            assert unit == item.unit
        checked += not item.beyond_paper
    assert checked == count
    further = {("formation_energy", "mp-77")} if name == "megnet" else set()
    if name in files.EXPERIMENTAL:
        further = {(key, entry) for key in card.properties for entry in ("4", "5")}  # by composition alone
    assert values.keys() == further  # nothing else came out
    assert report.absent == []


@pytest.mark.parametrize("name", ["jarvis_2d", "jarvis_3d"])
def test_what_jarvis_leaves_out_is_missing(raw_folder, tmp_path, name):
    publish(raw_folder, name)
    report = ingest(name, Params(), tmp_path / "store")
    assert report.entries == ROWS + 1
    assert all(counts == {"kept": ROWS, "missing": 1} for counts in report.values.values())


@pytest.mark.parametrize("name", list(files.EXPERIMENTAL))
def test_measured_values_get_their_structures_by_id_or_their_composition(raw_folder, tmp_path, name):
    publish(raw_folder, name)
    report = ingest(name, Params(), tmp_path / "store")
    assert (report.entries, dict(report.rejects)) == (ROWS + 2, {"no_structure": 1})
    assert report.compositions == 1
    store = featurestore.open(tmp_path / "store")
    ids = store.sql("SELECT structure_id FROM entries ORDER BY position").fetchall()
    # The first two are in the larger copy of Materials Project, the others in the smaller one only.
    crystals = [crystal(row).structure_id for row in range(ROWS)]
    composition = Composition.from_formula("SiO").structure_id
    assert [structure_id for (structure_id,) in ids] == [*crystals, composition, composition]
    rejects = store.sql("SELECT id, code, message FROM rejects ORDER BY id").fetchall()
    assert [(entry, code) for entry, code, _ in rejects] == [("6", "no_structure")]
    assert "'mp-999'" in rejects[0][2]
    assert "megnet-mp-2019-04-01.json.zip" in rejects[0][2]


def test_the_store_records_which_files_were_read(raw_folder, tmp_path):
    publish(raw_folder, "expt_gap_kingsbury")
    ingest("expt_gap_kingsbury", Params(), tmp_path / "store")
    from featurestore.tables.layout import StoreLayout
    from featurestore.tables.log import snapshot

    [shard] = snapshot(StoreLayout(tmp_path / "store").entries("expt_gap_kingsbury")).shards
    facts = shard.provenance
    assert (facts["file"], facts["vouched_for_by"]) == ("expt_gap_kingsbury.json.gz", "lock")
    assert facts["file_sha256"] == sha256_file(raw_folder / "expt_gap_kingsbury.json.gz")
    assert (facts["library_0"], facts["library_1"]) == ("megnet-mp-2019-04-01.json.zip", "megnet.json.zip")
    assert facts["library_1_sha256"] == sha256_file(raw_folder / "megnet.json.zip")
