"""The stage `columns`: own columns in feature sets, fits, queries and new structures' predictions."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from core.errors import StrataError
from core.params import parse
from etl.columns import keep_columns
from evaluation.evaluate import evaluate
from featurestore.columns import read_own_columns
from featurestore.query.store import open_store
from featurestore.tables.maintenance import compact, verify
from heads.fit import fit
from tests.stores import SOURCE, small_store, structure_id, vectors_of
from zoo.predict import predict_structures
from zoo.stored import stored_model

N = 36  # of alpha's 40 entries have a row; one of these lacks a value


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("columns") / "store")


@pytest.fixture
def root(tmp_path, made):
    return Path(shutil.copytree(made, tmp_path / "store"))


def asked(tmp_path, text=None, **more):
    """Settings whose table has, for each entry, its value of `energy` and a constant."""
    if text is None:
        rows = [f"alpha-{i},{'' if i == 3 else vectors_of(i)['atom_8'].sum()},1" for i in range(N)]
        text = "\n".join(["entry,signal,one", *rows, "stranger,1,1"]) + "\n"
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    return parse(
        {
            "datasets": ["alpha"],
            "extract": {"source_models": [SOURCE]},
            "columns": {"own": {"table": str(tmp_path / "own.csv"), "dataset": "alpha", **more}},
            "fit": {
                "heads": ["mean", "ridge"],
                "feature_sets": ["bond_0+own/all"],
                "properties": {"alpha": ["energy"], "beta": ["energy"]},
                "composition": None,
            },
        }
    )


def test_a_table_joins_a_feature_set_as_a_block(tmp_path, root):
    report = keep_columns("own", asked(tmp_path), root)
    assert (report.structures, report.unknown_ids) == (N - 1, ("stranger",))
    assert report.lacking == {"no_columns": 40 - N, "missing_value": 1}
    assert "signal, one for 35 structures" in str(report)
    data = open_store(root).matrix("alpha", "energy", "bond_0+own/all")
    assert [(b.source, b.checkpoint, b.stop - b.start) for b in data.blocks] == [
        (SOURCE, "bond_0", 256),
        ("own", "columns_0", 2),
    ]
    assert "alpha-3" not in data.entry_ids
    np.testing.assert_allclose(data.X[:, 256], data.y, rtol=1e-5)
    assert (data.X[:, 257] == 1).all()


def test_it_is_in_queries_and_verified(tmp_path, root):
    keep_columns("own", asked(tmp_path), root)
    store = open_store(root)
    assert store.sql("SELECT count(*) FROM features_own").fetchall() == [(N - 1,)]
    found = store.sql(
        "SELECT code, count(*) FROM rejects WHERE extraction_id = ? GROUP BY ALL ORDER BY ALL",
        [store.sources["own"].extraction_id],
    )
    assert found.fetchall() == [("missing_value", 1), ("no_columns", 4)]
    assert not verify(root).damages
    compact(root)
    assert len(open_store(root).matrix("alpha", "energy", "own/last")) == N - 1


def test_rows_that_lack_a_value_are_left_out_of_its_runs_and_counted(tmp_path, root):
    params = asked(tmp_path)
    keep_columns("own", params, root)
    report = fit("alpha", params, root)
    assert [(lack.feature_set, lack.source_model, lack.rows) for lack in report.lacking] == [
        (f"{SOURCE}/bond_0+own/all", "own", 5)
    ]
    ridge = next(run for run in report.runs if run.head == "ridge")
    assert ridge.n_train + ridge.n_val + ridge.n_test == N - 1
    assert ridge.source_model == f"{SOURCE}+own"


def test_another_dataset_is_fitted_without_it(tmp_path, root):
    params = asked(tmp_path)
    keep_columns("own", params, root)
    both = params.model_copy(
        update={"fit": params.fit.model_copy(update={"feature_sets": ("bond_0", "bond_0+own/all")})}
    )
    assert {run.feature_set for run in fit("beta", both, root).runs} == {None, "bond_0"}


def test_a_changed_table_takes_the_place_of_the_one_before(tmp_path, root):
    keep_columns("own", asked(tmp_path), root)
    before = open_store(root).version
    keep_columns("own", asked(tmp_path), root)
    assert open_store(root).version == before  # the same table: nothing is written
    keep_columns("own", asked(tmp_path, "entry,a,b,c\nalpha-0,1,2,3\n"), root)
    store = open_store(root)
    assert store.sources["own"].columns == ("a", "b", "c")
    assert store.matrix("alpha", "energy", "own/all").X.tolist() == [[1, 2, 3]]


def test_rows_may_be_of_structures(tmp_path, root):
    text = f"structure,a\n{structure_id(0)},5\n"
    assert keep_columns("own", asked(tmp_path, text, by="structure"), root).structures == 1


def test_entries_of_one_structure_that_differ_have_no_vector(tmp_path, root):
    # beta's entries 0 to 9 of the structures 30 to 39, 20 to 29 of 35 to 44: 5 and 20 share one
    text = "entry,a\nbeta-5,1\nbeta-20,2\nbeta-6,1\nbeta-21,1\n"
    report = keep_columns("own", asked(tmp_path, text, dataset="beta"), root)
    assert (report.structures, report.lacking["differing_values"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("entry,a\nx,1\n", {}, "none of its 1 ids is the entry_id of an entry of alpha.*by and id_column"),
        (None, {"dataset": "alhpa"}, "unknown dataset 'alhpa'.*did you mean 'alpha'"),
    ],
)
def test_a_table_that_fits_nothing_is_refused(tmp_path, root, text, more, message):
    with pytest.raises(StrataError, match=message):
        keep_columns("own", asked(tmp_path, text, **more), root)


def test_names_are_checked(tmp_path, root):
    params = asked(tmp_path)
    with pytest.raises(StrataError, match=r"unknown table of columns 'won'.*did you mean 'own'"):
        keep_columns("won", params, root)
    taken = params.model_copy(update={"columns": {"alignn_mp_eform": params.columns["own"]}})
    with pytest.raises(StrataError, match="is a source model; give the table another name"):
        keep_columns("alignn_mp_eform", taken, root)


def test_the_example_of_the_docs_is_read(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "your-columns.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (settings,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "own.csv").write_text(table, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    params = parse(yaml.safe_load(settings))
    assert params.fit.feature_sets == ("last", "last+own/all")
    found = read_own_columns(Path(params.columns["own"].table))
    assert found.names == ("anneal_temperature", "oxygen_pressure")
    assert found.lacking(1) == ["oxygen_pressure"]


@pytest.fixture
def chosen(tmp_path, root):
    """A store whose chosen head reads own columns alone, and three files of new structures."""
    params = asked(tmp_path)
    params = params.model_copy(update={"fit": params.fit.model_copy(update={"feature_sets": ("own/all",)})})
    keep_columns("own", params, root)
    fit("alpha", params, root)
    evaluate(params, root, root.parent)
    names = ("one", "two", "three")
    text = "Al\n1.0\n4.05 0 0\n0 4.05 0\n0 0 4.05\nAl\n1\ndirect\n0 0 0\n"
    files = []
    for name in names:
        files.append(tmp_path / f"{name}.vasp")
        files[-1].write_text(text, encoding="utf-8")
    return params, files


def test_new_structures_bring_their_columns(tmp_path, root, chosen):
    params, files = chosen
    table = tmp_path / "new.csv"
    table.write_text("name,more,one,signal\none,9,1,2.5\ntwo,9,1,\n", encoding="utf-8")
    model = stored_model(open_store(root), "alpha", "energy", params)
    found = predict_structures(model, files, columns=table)
    assert model.card.head == "ridge"
    assert found["value"][0] == pytest.approx(2.5, abs=0.5)
    assert "missing_value: two has no signal" in found["error"][1]
    assert "no_columns: three has no row" in found["error"][2]


def test_columns_that_changed_in_the_store_are_refused(tmp_path, root, chosen):
    params, _ = chosen
    keep_columns("own", asked(tmp_path, columns=["one"]), root)
    with pytest.raises(StrataError, match="learned from other columns of own than the store has now"):
        stored_model(open_store(root), "alpha", "energy", params)
