"""A network of another shape beside ALIGNN, from ingest to the report: nothing assumes a shape or a size."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from typer.testing import CliRunner

import featurestore
import strata
import zoo.backbones
from core.params import Params, parse
from etl.extract import extract
from etl.ingest import ingest
from evaluation.evaluate import evaluate
from evaluation.experiments import run as experiment
from evaluation.report.report import report
from featurestore.splits.schemes import split_dataset
from heads.fit import fit
from tests import toys
from tests.conftest import ROOT
from zoo.predict import predict_structures
from zoo.stored import stored_model

SOURCE = "alignn_mp_eform"
DATASET, PROPERTY = "ase_elements", "bulk_modulus"
SETS = ("last", "toy/last", f"{SOURCE}/last+toy/all")
LARGEST = 4  # atoms, of the toy's card as it is


@pytest.fixture(scope="module")
def patched():
    """The toy in the folders of one's own, for this module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in toys.ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(zoo.backbones, "__path__", list(zoo.backbones.__path__))
        yield patch


def params(**changes) -> Params:
    """Two source models, two heads, three feature sets; both experiments on one target."""
    plan = {"targets": {DATASET: [PROPERTY]}, "splits": ["random"], "seeds": [0], "heads": ["ridge"]}
    sections = {
        "datasets": [DATASET],
        "extract": {"source_models": [SOURCE, "toy"], "workers": 0, "threads": 1, "device": "cpu"},
        "fit": {"heads": ["mean", "ridge"], "feature_sets": list(SETS), "properties": {DATASET: [PROPERTY]}},
        "evaluate": {"bootstrap": 20},
        "experiments": {"checkpoints": plan, "source_models": plan | {"source_models": [SOURCE, "toy"]}},
    }
    return parse(sections | changes)


@pytest.fixture(scope="module")
def reports(root, patched):
    """What the stage `extract` said of each source model."""
    return extract(params(), root)


@pytest.fixture(scope="module")
def root(tmp_path_factory, patched) -> Path:
    root = tmp_path_factory.mktemp("toy") / "store"
    ingest(DATASET, params(), root)
    return root


@pytest.fixture(scope="module")
def fitted(root, reports) -> Path:
    """The store with runs on all three feature sets, evaluated."""
    split_dataset(root, DATASET, ["random"], [0])
    fit(DATASET, params(), root)
    evaluate(params(), root, root.parent)
    return root


def large(root: Path) -> set[str]:
    """Return the structures that the toy refuses."""
    asked = "SELECT structure_id FROM structures WHERE n_atoms > ?"
    return {name for (name,) in featurestore.open(root).sql(asked, [LARGEST]).fetchall()}


def test_each_source_model_has_a_table_of_its_own_shape(root, reports):
    alignn, toy = reports
    opened = featurestore.open(root)
    assert list(opened.sources) == [SOURCE, "toy"]
    assert [(c.name, c.width) for c in opened.sources["toy"].checkpoints] == [("cell_0", 3), ("cell_1", 5)]
    columns = opened.sql("SELECT * FROM features_toy LIMIT 0").columns
    assert columns == [
        "structure_id",
        "extraction_id",
        "source_model",
        "n_sites",
        "prediction",
        "cell_0",
        "cell_1",
    ]
    ids = opened.sql("SELECT structure_id FROM features_toy ORDER BY 1").fetchall()
    assert opened.vectors([name for (name,) in ids], "toy/all").shape == (toy.extracted, 8)
    assert alignn.extraction_id != toy.extraction_id


def test_a_reject_of_one_network_takes_nothing_from_the_other(root, reports):
    alignn, toy = reports
    refused = large(root)
    assert refused, "the dataset has structures that are too large for the toy"
    assert toy.rejected == {"too_large": len(refused)}
    assert alignn.rejected == {}
    opened = featurestore.open(root)
    assert alignn.extracted == alignn.unique == toy.extracted + len(refused)
    of_alignn = opened.matrix(DATASET, PROPERTY, "last")
    of_toy = opened.matrix(DATASET, PROPERTY, "toy/last")
    both = opened.matrix(DATASET, PROPERTY, SETS[2])
    assert refused & set(of_alignn.structure_ids)
    assert not refused & set(of_toy.structure_ids)
    assert list(both.structure_ids) == list(of_toy.structure_ids)
    assert set(of_alignn.structure_ids) == set(of_toy.structure_ids) | (
        refused & set(of_alignn.structure_ids)
    )
    assert both.X.shape[1] == of_alignn.X.shape[1] + 8
    kept = [i for i, name in enumerate(of_alignn.structure_ids) if name not in refused]
    np.testing.assert_array_equal(both.X[:, :-8], of_alignn.X[kept])


def test_nothing_is_done_twice(root, reports):
    again = extract(params(), root)
    assert [one.extracted for one in again] == [0, 0]


def test_heads_on_all_sets_are_scored(fitted):
    runs = "SELECT DISTINCT feature_set, source_model FROM runs WHERE head = 'ridge' ORDER BY 1"
    found = featurestore.open(fitted).sql(runs).fetchall()
    assert sorted(source for _, source in found) == [SOURCE, f"{SOURCE}+toy", "toy"]
    chosen = "SELECT count(*) FROM scores WHERE role = 'chosen'"
    assert featurestore.open(fitted).sql(chosen).fetchall() == [(1,)]


def test_a_file_is_predicted_by_a_model_that_reads_both(root, reports, tmp_path_factory):
    """Only the joined set competes, so that it is chosen."""
    other = tmp_path_factory.mktemp("both") / "store"
    asked = params(
        fit={"heads": ["mean", "ridge"], "feature_sets": [SETS[2]], "properties": {DATASET: [PROPERTY]}}
    )
    ingest(DATASET, asked, other)
    for kind in ("features", "extractions"):
        (other / kind).symlink_to(root / kind)
    split_dataset(other, DATASET, ["random"], [0])
    fit(DATASET, asked, other)
    evaluate(asked, other, other.parent)
    small, big = other.parent / "small.vasp", other.parent / "big.vasp"
    bulk("Cu").write(small, format="vasp")
    (bulk("Cu", cubic=True) * (2, 1, 1)).write(big, format="vasp")
    model = stored_model(featurestore.open(other), DATASET, PROPERTY, asked)
    assert (model.card.head, model.card.reads) == ("ridge", f"{SOURCE}/atom_bond_angle_last+toy/all")
    assert set(model.sources) == {SOURCE, "toy"}
    found = predict_structures(model, [small, big])
    assert np.isfinite(found["value"]).tolist() == [True, False]
    assert found["error"].tolist() == ["", "too_large: 8 atoms, the toy takes 4 at most"]
    assert {row.structure_id for row in model.calibration.rows}.isdisjoint(large(other))


def test_neighbours_by_the_toy(root, reports):
    opened = featurestore.open(root)
    (name,) = opened.sql("SELECT structure_id FROM features_toy ORDER BY 1 LIMIT 1").fetchall()[0]
    found = opened.near(name, 3, "toy/cell_1").to_pylist()
    everything = opened.sql("SELECT structure_id FROM features_toy ORDER BY 1").fetchall()
    vectors = opened.vectors([row[0] for row in everything], "toy/cell_1")
    distances = np.sort(np.linalg.norm(vectors - vectors[0], axis=1))
    own = [row["distance"] for row in found]
    skipped = 0 if name in [row["structure_id"] for row in found] else 1
    np.testing.assert_allclose(own, distances[skipped : skipped + 3], atol=1e-5)


def test_embed_by_the_toy(patched):
    found = strata.embed([bulk("Cu"), bulk("Cu", cubic=True) * (2, 1, 1)], ids=["a", "b"], source_model="toy")
    assert found.ids == ("a",)
    assert found.vectors.shape == (1, 5)
    assert list(found.frame.columns) == ["cell_1"]
    assert [reject.code for reject in found.rejects] == ["too_large"]
    every = strata.embed([bulk("Cu")], source_model="toy", checkpoints=["cell_1", "cell_0"])
    assert [len(cell) for cell in every.frame.iloc[0]] == [5, 3]


def test_views_have_both_side_by_side(root, reports):
    opened = featurestore.open(root)
    columns = opened.sql("SELECT * FROM joined LIMIT 0").columns
    assert columns[0] == "structure_id"
    assert "toy__cell_1" in columns
    assert any(name.startswith(f"{SOURCE}__") for name in columns)
    kinds = opened.sql("SELECT source_model, kind, max(depth) FROM checkpoints GROUP BY ALL").fetchall()
    assert ("toy", "cell", 1) in kinds
    lengths = "SELECT DISTINCT checkpoint, len(vector) FROM vectors WHERE source_model = 'toy' ORDER BY 1"
    assert opened.sql(lengths).fetchall() == [("cell_0", 3), ("cell_1", 5)]


def test_zoo_commands_know_a_network_without_weights_or_target(patched):
    said = CliRunner().invoke(strata.command(), ["zoo", "list"], env={"COLUMNS": "250"})
    assert said.exit_code == 0, said.output
    (line,) = (line for line in said.output.splitlines() if " toy " in line)
    assert "nothing" in line
    assert "none" in line
    assert CliRunner().invoke(strata.command(), ["zoo", "verify", "toy"]).exit_code == 0


@pytest.mark.parametrize("name", ["checkpoints", "source_models"])
def test_experiments(fitted, tmp_path, name):
    result = experiment(name, params(), fitted, tmp_path)
    table = result.tables["table"]
    assert np.isfinite(table["transfer"]).all()
    text = table.to_csv()
    assert "toy" in text if name == "source_models" else "atom_bond_angle_last" in text


def test_checkpoints_of_the_toy_compete_where_it_is_the_default(fitted, tmp_path):
    """Which sets there are follows from the source model, not from ALIGNN's kinds."""
    settings = params().extract.model_copy(update={"source_models": ("toy",)})
    result = experiment("checkpoints", params().model_copy(update={"extract": settings}), fitted, tmp_path)
    assert set(result.tables["validation"]["feature_set"]) == {"cell_0", "cell_1"}
    assert set(result.tables["table"]["kind"]) == {"cell"}


def test_the_report_page(fitted, tmp_path):
    page, settings = tmp_path / "report.html", tmp_path / "params.yaml"
    settings.write_text(yaml.safe_dump(params().model_dump(mode="json")), encoding="utf-8")
    report(params(), fitted, page, fitted.parent / "plots/parity.csv", settings, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert f"{SOURCE}+toy" in text or "toy/all" in text


def test_the_toy_is_a_card_and_a_module_and_nothing_else():
    assert sorted(p.name for p in toys.MODELS.iterdir()) == ["toy.yaml"]
    assert [p.name for p in toys.BACKBONES.glob("*.py")] == ["toy.py"]
    card = yaml.safe_load((toys.MODELS / "toy.yaml").read_text(encoding="utf-8"))
    assert set(card) == {"name", "title", "backbone", "licence"}
    for path in ROOT.glob("zoo/**/*.py"):
        assert "toy" not in path.read_text(encoding="utf-8").split(), path
