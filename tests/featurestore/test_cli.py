import csv
import json

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import featurestore
from core.errors import StrataError
from featurestore.cli import app
from tests.stores import add_other_features


@pytest.fixture
def strata(shared_store):
    def run(*arguments, store=shared_store):
        extra = [] if arguments[0] == "splits" else ["--store", str(store)]
        result = CliRunner().invoke(app, [*map(str, arguments), *extra], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_sql_prints_a_table_with_vectors_shortened(strata):
    out = strata("sql", "SELECT structure_id, atom_8 FROM features ORDER BY 1 LIMIT 3")
    assert "structure_id" in out
    assert out.count("… 256]") == 3


def test_sql_writes_csv_and_json(strata):
    query = (
        "SELECT entry_id, value, n_bonds FROM targets JOIN features USING (structure_id) ORDER BY ALL LIMIT 4"
    )
    rows = list(csv.DictReader(strata("sql", query, "--format", "csv").splitlines()))
    assert rows == [
        {k: str(v) for k, v in row.items()} for row in json.loads(strata("sql", query, "--format", "json"))
    ]
    assert len(rows) == 4


def test_sql_writes_a_file(strata, tmp_path):
    strata("sql", "FROM entries", "--format", "parquet", "-o", tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 70


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "parquet"], "name a file"),
        (["-o", "x.csv"], "--format csv, json or parquet"),
    ],
)
def test_sql_says_what_is_missing(strata, arguments, says):
    with pytest.raises(StrataError, match=says):
        strata("sql", "SELECT 1", *arguments)


def test_sql_explains_a_query_that_fails_while_it_runs(strata):
    with pytest.raises(StrataError, match=r"DuckDB: .*boom"):
        strata("sql", "SELECT error('boom' || position) FROM entries")


def test_sql_does_not_write_into_the_store(strata, shared_store):
    with pytest.raises(StrataError, match="inside the store"):
        strata("sql", "SELECT 1", "--format", "csv", "-o", shared_store / "features" / "x.csv")


def test_sql_at_an_earlier_version(strata):
    assert "0" in strata("sql", "SELECT count(*) FROM features", "--at", "3")


def test_info_counts_datasets_structures_extractions_and_size(strata):
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in strata("info").splitlines()
        if "│" in line
    ]
    assert ["alpha", "", "40", "40", "2", "0"] in lines
    assert ["beta", "", "30", "20", "2", "0"] in lines
    assert ["0123456789abcdef", "synthetic", "beta", "20", "20", "0", "0"] in lines
    assert any(line[:3] == ["features", "50", "4"] and line[3].endswith(" MB") for line in lines)


def rows_of(out):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]


def test_features_lists_the_sets_of_the_default_source_model(strata):
    rows = rows_of(strata("features"))
    assert len(rows) == 38 + 2
    assert ["atom_bond_angle_last", "atom_8 + bond_8 + angle_4", "768"] in rows
    assert ["last", "atom_8 + bond_8 + angle_4", "768"] in rows


def test_features_of_another_source_model(strata, store_root):
    add_other_features(store_root, range(5))
    assert "of others: SOURCE/SET, where SOURCE is one of other" in strata("features", store=store_root)
    out = strata("features", "--source-model", "other", store=store_root)
    assert ["site_pair_1", "site_1 + pair_1", "10"] in rows_of(out)
    assert "the default source model" not in out
    with pytest.raises(StrataError, match="did you mean 'other'"):
        strata("features", "--source-model", "othr", store=store_root)


def test_sql_over_chosen_blocks_of_two_source_models(strata, store_root):
    add_other_features(store_root, range(5))
    query = "SELECT count(synthetic__atom_8) AS a, count(other__pair_1) AS b FROM chosen"
    out = strata("sql", query, "--join", "atom_8+other/pair_1", "--format", "csv", store=store_root)
    assert out.split() == ["a,b", "50,5"]


def test_splits_lists_the_schemes(strata):
    assert "random_rows" in strata("splits")


def test_split_draws_what_params_ask_for(strata, store_root, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"split": {"schemes": ["kfold"], "seeds": [7]}}))
    out = strata("split", "alpha", "--params", params, store=store_root)
    assert "splits of 2 properties drawn" in out
    keys = featurestore.open(store_root).splits("alpha", "gap")
    assert keys == [("kfold", 7, fold) for fold in range(9)]
