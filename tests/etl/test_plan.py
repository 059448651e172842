"""`strata extract --plan`: what is missing and what it would take, and nothing kept."""

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import StrataError
from etl.cli import app
from etl.extract import extract
from etl.parts import Part, number_of
from etl.plan import SAMPLE, plan, seconds_to_extract
from tests.etl.test_parts import LARGEST, REJECTED, STRUCTURES, TOY, params, store, toy  # noqa: F401 - fixtures


def files(root: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def test_what_is_missing_and_what_it_costs(store):  # noqa: F811 - a fixture
    before = files(store)
    (found,) = plan(params(), store, shards=4)
    assert (found.missing, found.unit, found.workers) == (len(STRUCTURES), "units of its own", 1)
    assert len(STRUCTURES) <= SAMPLE  # all of them are measured, so that nothing is estimated
    # A line by least squares has the sum of what it was fitted to.
    assert found.cost == pytest.approx(sum(s.n_atoms for s in STRUCTURES if s.n_atoms <= LARGEST))
    assert found.seconds == pytest.approx(found.sample.seconds)
    sizes = [0] * 4
    for structure in STRUCTURES:
        sizes[number_of(structure.structure_id, 4) - 1] += 1
    assert found.largest == max(sizes)
    assert 0 < found.shard_seconds < found.seconds
    assert files(store) == before


def test_after_some_shards_the_others_are_left(store):  # noqa: F811
    part = Part(1, 2)
    extract(params(), store, part=part)
    left = [s for s in STRUCTURES if not part.holds(s.structure_id)]
    (found,) = plan(params(), store)
    assert found.missing == len(left)
    extract(params(), store)
    (found,) = plan(params(), store)
    assert (found.missing, found.cost, found.seconds, found.sample) == (0, 0, 0, None)
    assert REJECTED  # which are not missing


def call(*words):
    result = CliRunner().invoke(app, ["extract", *words], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command(store, monkeypatch):  # noqa: F811
    monkeypatch.chdir(store.parent)
    (store.parent / "params.yaml").write_text(
        f"datasets: [some]\nextract: {{source_models: [{TOY}], workers: 0}}\n"
    )
    told = call("--plan", "--shards", "4")
    for part in (
        TOY,
        "40",
        "of 4 shards, each on",
        "from this measurement, here and now",
        "drawn at random",
    ):
        assert part in told
    assert "shard" not in call("--plan")
    assert "part 1/2" in call("--shard", "1/2")
    for words, message in (
        (("--plan", "--shard", "1/2"), "--shards N"),
        (("--shards", "4"), "goes with --plan"),
        (("--shard", "5/4"), "expected i/N"),
    ):
        with pytest.raises(StrataError, match=message):
            call(*words)


def test_seconds_of_datasets_that_are_not_in_the_params(store):  # noqa: F811
    nothing = params().model_copy(update={"datasets": []})
    found = seconds_to_extract(nothing, store, [TOY], ["some"])
    assert list(found) == [TOY]
    assert found[TOY] > 0
    assert seconds_to_extract(nothing, store, [], ["some"]) == {}
