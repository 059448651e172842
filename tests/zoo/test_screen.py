"""Screening: whole datasets ranked in one pass, as if each structure had been asked about by itself."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from core.params import parse
from evaluation.evaluate import evaluate
from featurestore.tables.log import Reject
from heads import domain
from heads.fit import fit
from tests.stores import (
    OTHER,
    SOURCE,
    add_dataset,
    add_other_features,
    small_store,
    structure_id,
)
from zoo import judge
from zoo.candidates import Candidates
from zoo.chosen import models_where
from zoo.load import LoadedModel
from zoo.model import NETWORK, Model, Reads
from zoo.screen import Wanted, rank, screen
from zoo.stored import model_of
from zoo.training.trained import Described

PARAMS = parse(
    {
        "datasets": ["alpha"],
        "extract": {"source_models": [SOURCE, OTHER]},
        "fit": {
            "heads": ["mean", "ridge", "svr"],
            "properties": {"alpha": ["energy"]},
            "feature_sets": [f"{SOURCE}/atom_8", f"{OTHER}/all"],
            "committee": "mean",
            "choose_by": "cv",
            "composition": None,
        },
    }
)
OVER = ["alpha", "beta"]
REFUSED, UNSEEN = (45, 46), (47, 48, 49)  # by the second source model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Committees for alpha/energy on two source models, of which the second lacks some structures of beta."""
    root = small_store(tmp_path_factory.mktemp("screen") / "store")
    seen = [number for number in range(50) if number not in REFUSED + UNSEEN]
    add_other_features(root, seen, [Reject(structure_id(n), "too_large", "") for n in REFUSED])
    fit("alpha", PARAMS, root)
    evaluate(PARAMS, root, root.parent)
    return root


@pytest.fixture(autouse=True)
def sources(monkeypatch):
    """The source models of the tests have no cards that their vectors could be compared with."""
    monkeypatch.setattr(Model, "check_sources", lambda self: None)


@pytest.fixture
def store(root):
    with featurestore.open(root) as opened:
        yield opened


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def model(store, kept):
    if not kept:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Model, "check_sources", lambda self: None)
            (committee,) = models_where(store, "method = 'committee' AND seed = ?", [0])
            kept["model"] = LoadedModel(**vars(model_of(store, committee, PARAMS)))
    return kept["model"]


def alone(model, store, numbers):
    """Ask about structures in the plain way, all at once."""
    candidates = Candidates.of(model, store, OVER)
    ids = candidates.known["structure_id"].to_pylist()
    rows = np.array([ids.index(structure_id(number)) for number in numbers])
    vectors, own = candidates.vectors(rows)
    return model.frame(candidates.asked(rows), vectors, 0.9, own)


def test_every_structure_once_with_all_its_entries_by_value(model, store):
    frame = screen(model, store, OVER, Wanted(), top=None)
    assert len(frame) == frame["structure_id"].nunique() == 50
    assert frame["rank"].tolist() == list(range(1, 51))
    assert frame["value"].is_monotonic_decreasing
    by_id = frame.set_index("structure_id")
    assert by_id.loc[structure_id(35), "entries"] == "alpha-35, beta-5, beta-20"
    assert by_id.loc[structure_id(35), "datasets"] == "alpha, beta"
    assert by_id.loc[structure_id(3), "in_training"] in {"alpha-3", ""}
    assert by_id.loc[structure_id(49), "in_training"] == ""
    plain = alone(model, store, range(50)).set_index("structure")
    for name in ("value", "low", "high", "percentile", "near_1_distance", "expected_error"):
        np.testing.assert_allclose(by_id[name], plain[name].loc[by_id.index], rtol=1e-6, atol=1e-9)
    assert (by_id["domain"] == plain["domain"].loc[by_id.index]).all()
    assert "chance" not in frame
    assert frame.attrs["unit"] == "eV"


def test_lowest_first_is_the_other_way_round(model, store):
    highest = screen(model, store, ["alpha"], Wanted(), top=None)
    lowest = screen(model, store, ["alpha"], Wanted(lowest=True), top=3)
    assert lowest["structure_id"].tolist() == highest["structure_id"].tolist()[:-4:-1]


def test_a_window_ranks_by_the_chance_to_lie_in_it(model, store):
    frame = screen(model, store, OVER, Wanted(-5.0, 5.0), top=None)
    assert frame["chance"].is_monotonic_decreasing
    assert 0 < frame["chance"].nunique() <= 50
    candidates = Candidates.of(model, store, OVER)
    rows = np.arange(50)
    vectors, _ = candidates.vectors(rows)
    value, spread = model.values(vectors)
    place = model.calibration.domain.place(vectors, candidates.asked(rows).elements)
    intervals = model.calibration.intervals
    chance = intervals.chance(value, intervals.difficulty(place, value, spread), -5.0, 5.0)
    by_id = dict(zip(candidates.known["structure_id"].to_pylist(), chance, strict=True))
    assert frame["chance"].tolist() == pytest.approx([by_id[name] for name in frame["structure_id"]])


def test_a_window_may_be_open_at_either_end(model, store):
    above = screen(model, store, OVER, Wanted(minimum=2.0), top=None).set_index("structure_id")["chance"]
    below = screen(model, store, OVER, Wanted(maximum=2.0), top=None).set_index("structure_id")["chance"]
    np.testing.assert_allclose(above + below.loc[above.index], 1.0, atol=1e-9)


def test_pieces_do_not_matter_and_vectors_are_never_read_all_at_once(model, store, monkeypatch):
    whole = rank(Candidates.of(model, store, OVER), Wanted(-3.0, 3.0))
    monkeypatch.setattr(judge, "READ", 16)
    monkeypatch.setattr(judge, "_PIECE", 5)
    asked = []
    read = type(store).vectors
    monkeypatch.setattr(
        type(store), "vectors", lambda self, ids, *rest: asked.append(len(ids)) or read(self, ids, *rest)
    )
    pieces = rank(Candidates.of(model, store, OVER), Wanted(-3.0, 3.0))
    assert max(asked) <= 16
    assert sum(asked) == 50 + 45
    for name in ("value", "low", "high", "chance", "percentile"):
        one = dict(zip(whole.rows.tolist(), whole.predicted[name].to_pylist(), strict=True))
        other = dict(zip(pieces.rows.tolist(), pieces.predicted[name].to_pylist(), strict=True))
        assert other == pytest.approx(one, rel=1e-6)


def test_one_thread_and_several_say_the_same(model, store, monkeypatch):
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(judge, "cores", lambda threads=threads: threads)
        monkeypatch.setattr(judge, "_PIECE", 4)
        found.append(screen(model, store, OVER, Wanted(-3.0, 3.0), top=None).set_index("structure_id"))
    np.testing.assert_allclose(found[0]["value"], found[1]["value"].loc[found[0].index], rtol=1e-6)


def test_what_is_missing_is_counted_and_the_others_go_on(model, store):
    candidates = Candidates.of(model, store, OVER)
    assert [(one.reads.name, one.missing, one.rejected) for one in candidates.lacking] == [(OTHER, 3, 2)]
    assert candidates.to_extract == [OTHER]
    assert candidates.usable.all()  # the committee's other members answer
    frame = screen(model, store, OVER, Wanted(), top=None).set_index("structure_id")
    assert np.isfinite(frame.loc[[structure_id(n) for n in REFUSED + UNSEEN], "value"]).all()
    alone_on = replace(model, members=tuple(m for m in model.members if m.blocks[0].source == OTHER))
    assert len(alone_on.members) < len(model.members)
    few = screen(alone_on, store, OVER, Wanted(), top=None)
    assert len(few) == 45
    assert not set(few["structure_id"]) & {structure_id(n) for n in REFUSED + UNSEEN}


def test_a_source_model_that_the_store_has_never_seen(model, tmp_path):
    with featurestore.open(small_store(tmp_path / "store")) as other:
        candidates = Candidates.of(model, other, ["beta"])
        assert [(one.reads.name, one.missing) for one in candidates.lacking] == [(OTHER, 20)]
        assert np.isfinite(screen(model, other, ["beta"], Wanted())["value"]).all()


def test_no_vectors_at_all(model, store, tmp_path):
    root = small_store(tmp_path / "store")
    add_dataset(root, "gamma", range(60, 63))
    with featurestore.open(root) as other, pytest.raises(StrataError) as error:
        screen(model, other, ["gamma"], Wanted())
    assert "none of the 3 structures of gamma has the vectors" in str(error.value)
    assert SOURCE in str(error.value)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("entry_id = 'beta-1'", lambda row: row["entries"].split(", ")[0] == "beta-1"),
        ("list_contains(entry_ids, 'beta-20')", lambda row: "beta-20" in row["entries"]),
        ("list_contains(datasets, 'beta')", lambda row: "beta" in row["datasets"]),
        ("value > 3 -- eV", lambda row: row["value"] > 3),
        ("NOT in_training", lambda row: row["in_training"] == ""),
        ("domain = 'inside' AND n_atoms = 1", lambda row: row["domain"] == "inside"),
        ("formula = 'NaCl' OR elements = ['Na', 'Cl']", lambda row: False),
        (
            "structure_id IN (SELECT structure_id FROM targets WHERE property = 'energy' AND value > 10)",
            lambda row: row["true"] > 10,
        ),
        ("chance > 0.5", lambda row: row["chance"] > 0.5),
    ],
)
def test_a_condition_keeps_what_it_is_true_of(model, store, where, expected):
    every = screen(model, store, OVER, Wanted(-5.0, 5.0), top=None)
    values = store.sql(
        "SELECT structure_id, any_value(value) FROM targets WHERE property = 'energy' GROUP BY 1"
    )
    every["true"] = every["structure_id"].map(dict(values.fetchall()))
    wanted = [row["structure_id"] for row in every.to_dict("records") if expected(row)]
    found = screen(model, store, OVER, Wanted(-5.0, 5.0, where=where), top=None)
    assert found["structure_id"].tolist() == wanted
    assert found["rank"].tolist() == list(range(1, len(wanted) + 1))
    assert list(found.columns) == [name for name in every.columns if name != "true"]


def test_what_a_condition_on_known_facts_leaves_out_is_not_predicted(model, store, monkeypatch):
    asked = []
    values = Model.values
    monkeypatch.setattr(
        Model, "values", lambda self, v: asked.append(len(next(iter(v.values())))) or values(self, v)
    )
    rank(Candidates.of(model, store, OVER), Wanted(where="dataset = 'beta'"))
    assert sum(asked) == 10
    asked.clear()
    rank(Candidates.of(model, store, OVER), Wanted(where="dataset = 'beta' AND value > 0"))
    assert sum(asked) == 50


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nothing_such = 1", "nothing_such"),
        ("n_atoms", "is no condition.*INTEGER"),
        ("n_atoms < 2, value > 1", "cannot be asked|is no condition"),
        ("", "needs a condition"),
        ("true; DROP VIEW targets", "cannot be asked"),
        ("true) OR (true", "cannot be asked"),
        ("true) UNION ALL SELECT * FROM (SELECT 1", "cannot be asked"),
        ("entry_id IN (SELECT * FROM read_csv('/etc/hostname'))", "cannot be asked"),
    ],
)
def test_what_is_no_condition_stops_it_before_anything_is_read(model, root, monkeypatch, where, message):
    monkeypatch.setattr(judge, "predict", lambda *_: pytest.fail("predicted"))
    with (
        featurestore.open(root, files=False) as opened,
        pytest.raises(StrataError, match=f"(?s)--where.*({message})"),
    ):
        screen(model, opened, OVER, Wanted(where=where))


def test_inside_only(model, store):
    # Vectors at random lie all alike: the own distances of training rows are spread, so that verdicts differ.
    learned = model.calibration.domain
    own = replace(learned.own, distance=np.linspace(0, 1, len(learned.own.distance)))
    spread = replace(model, calibration=replace(model.calibration, domain=replace(learned, own=own)))
    every = screen(spread, store, OVER, Wanted(), top=None)
    inside = screen(spread, store, OVER, Wanted(inside_only=True), top=None)
    assert 0 < len(inside) < 50
    assert inside["structure_id"].tolist() == every[every["domain"] == "inside"]["structure_id"].tolist()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"minimum": 2.0, "maximum": 1.0}, "minimum of 2 and a maximum of 1"),
        ({"minimum": float("nan")}, "the minimum of a window is a finite number"),
        ({"maximum": float("inf")}, "the maximum of a window is a finite number"),
        ({"minimum": 1.0, "lowest": True}, "leave out either --lowest"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_met(wanted, message):
    with pytest.raises(StrataError, match=message):
        Wanted(**wanted)


def test_names_and_numbers_that_are_none(model, store):
    for over, more, message in (
        (["alpa"], {}, "unknown dataset 'alpa'.*did you mean 'alpha'"),
        (["x'; DROP TABLE entries --"], {}, "unknown dataset"),
        ([], {}, "name the datasets"),
        (OVER, {"top": 0}, "at least one structure is shown: top is 0"),
        (OVER, {"save": "../x"}, "not a valid name"),
    ):
        with pytest.raises(StrataError, match=message):
            screen(model, store, over, Wanted(), **more)
    classes = replace(model, card=replace(model.card, classes=("metal", "insulator")))
    with pytest.raises(StrataError, match=r"tells classes apart \(metal, insulator\)"):
        screen(classes, store, OVER, Wanted())


def test_a_ranking_that_is_kept_is_whole_and_is_replaced(model, store, root):
    shown = model.screen(root, over=OVER, minimum=-5.0, maximum=5.0, top=3, save="mine")
    assert len(shown) == 3
    with featurestore.open(root) as later:
        kept = later.sql("FROM screens ORDER BY rank").df()
        assert len(kept) == 50
        assert kept["structure_id"].tolist()[:3] == shown["structure_id"].tolist()
        for name in ("value", "low", "high", "chance"):
            np.testing.assert_allclose(kept[name][:3], shown[name], rtol=1e-6)
        assert set(kept["model"]) == {"alpha/energy"}
        assert set(kept["model_sha256"]) == {model.card.sha256}
        assert (set(kept["minimum"]), set(kept["maximum"]), set(kept["unit"])) == ({-5.0}, {5.0}, {"eV"})
    model.screen(root, over=["beta"], where="value > 0", save="mine")
    with featurestore.open(root) as later:
        again = later.sql("SELECT chance, value FROM screens WHERE screen = 'mine'").fetchall()
        assert 0 < len(again) < 20
        assert all(chance is None and value > 0 for chance, value in again)


class Network:
    """A network of the target's own: its vectors and values say where the only atom lies."""

    names = ("gap", "energy")

    def described(self, structures):
        places = np.array([s.frac_coords[0, 2] for s in structures])
        vectors = np.column_stack([places, places**2]).astype(np.float32)
        return Described(np.column_stack([-places, 10 * places]), vectors, {})


def test_a_network_of_the_targets_own_is_run_over_them(model, store):
    ids = [row.structure_id for row in model.calibration.rows]
    vectors = Network().described(store.structures(ids)).vectors
    learned = domain.Domain.learn({NETWORK: vectors}, np.arange(len(ids)), [[14]] * len(ids))
    own = replace(
        model,
        network=Network(),
        members=(),
        sources={NETWORK: Reads(NETWORK, "x", ())},
        calibration=replace(model.calibration, domain=learned),
    )
    frame = screen(own, store, OVER, Wanted(), top=2)
    assert frame["structure_id"].tolist() == [structure_id(49), structure_id(48)]
    assert frame["value"].tolist() == pytest.approx([0.49, 0.48])


def test_a_structure_that_shares_the_vectors_of_a_training_entry_is_no_news(model, store):
    (seen,) = (row for row in model.calibration.rows[:1])
    frame = screen(model, store, OVER, Wanted(), top=None).set_index("structure_id")
    assert seen.entry_id in frame.loc[seen.structure_id, "in_training"]
    training = {row.structure_id for row in model.calibration.rows}
    new = frame[~frame.index.isin(training)]
    assert (new["in_training"] == "").all()


def test_columns_of_a_kept_table_match_what_is_predicted(model, store):
    found = rank(Candidates.of(model, store, ["alpha"]), Wanted())
    assert found.predicted.schema == judge.PREDICTED
    assert found.predicted["chance"].null_count == len(found) == 40
    assert pa.types.is_boolean(found.predicted["in_training"].type)
