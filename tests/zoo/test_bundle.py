"""Bundles: what is written, and that it answers elsewhere as it did at home."""

import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import strata
from core.errors import StrataError
from core.structure_files import read_structures
from heads import Ridge
from heads.logistic import Logistic
from heads.mlp import MLP
from heads.on_log import OnLog
from heads.svr import SVR
from tests.bundles import QUICK, made_model, rewritten, sealed
from tests.crystals import cif
from tests.training import network
from zoo.backbones.alignn.graph import INVARIANT
from zoo.bundle import bundle_sha256, load_bundle, save_bundle
from zoo.hub import Target, Training, load_card
from zoo.model import NETWORK, Reads
from zoo.predict import predict_structures
from zoo.publish import publish
from zoo.training.trained import TrainedModel

ROOT = Path(__file__).parents[2]
SALT = cif("NaCl", 5.64, "Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")
ALLOY = cif("NiAl", 2.88, "Ni1 Ni 0 0 0 1", "Al1 Al 0.5 0.5 0.5 1")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("STRATA_MODELS", raising=False)


@pytest.fixture(scope="module")
def model():
    return made_model("alignn_mp_eform", "magpie", heads=(Ridge(), MLP(members=1, epochs=5)))


@pytest.fixture
def files(tmp_path):
    for name, text in (("salt.cif", SALT), ("alloy.cif", ALLOY)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / "salt.cif", tmp_path / "alloy.cif"]


def assert_same(first, second):
    """Compare two tables of predictions: numbers to a millionth, everything else exactly."""
    assert list(first.columns) == list(second.columns)
    for name in first.columns:
        if first[name].dtype.kind == "f":
            np.testing.assert_allclose(first[name], second[name], rtol=1e-6, err_msg=name)
        else:
            assert first[name].tolist() == second[name].tolist(), name


@pytest.mark.parametrize("name", ["volume", "volume.zip"])
def test_a_folder_and_a_zip_answer_as_the_model_did(model, files, tmp_path, name):
    assert save_bundle(model, tmp_path / name) == tmp_path / name
    loaded = load_bundle(tmp_path / name, QUICK)
    expected = predict_structures(model, files)
    assert_same(predict_structures(loaded, files), expected)
    assert (expected["near_1"] != "").all()
    assert loaded.card == model.card
    assert bundle_sha256(tmp_path / name) == bundle_sha256(tmp_path / name)


def test_the_same_model_makes_the_same_zip(model, tmp_path):
    first, second = (save_bundle(model, tmp_path / name / "volume.zip").read_bytes() for name in "ab")
    assert first == second


def test_another_process_needs_neither_store_nor_settings(model, files, tmp_path):
    save_bundle(model, tmp_path / "volume.zip")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"""
        import strata
        model = strata.load({str(tmp_path / "volume.zip")!r})
        model.predict({[str(file) for file in files]!r}).to_json("found.json")
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((elsewhere / "found.json").read_text())
    expected = predict_structures(model, files)
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(list(found[name].values()), expected[name], rtol=1e-6)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["found.json"]


def test_workers_read_the_same(model, files, tmp_path, monkeypatch):
    loaded = load_bundle(save_bundle(model, tmp_path / "volume"), QUICK.model_copy(update={"workers": 1}))
    monkeypatch.setattr("zoo.predict.WORTH_WORKERS", 1)
    from zoo.predict import predict_files

    (frame,) = predict_files(loaded, files)
    np.testing.assert_allclose(frame["value"], predict_structures(model, files)["value"], rtol=1e-6)


def test_what_was_learned_as_a_logarithm_stays_one(files, tmp_path):
    model = made_model("magpie", heads=(OnLog(Ridge()),))
    loaded = load_bundle(save_bundle(model, tmp_path / "log"), QUICK)
    assert json.loads((tmp_path / "log" / "config.json").read_text())["transform"] == "log"
    assert_same(predict_structures(loaded, files), predict_structures(model, files))


def test_classes_and_their_probabilities(files, tmp_path):
    model = made_model(
        "magpie",
        heads=(Logistic(),),
        classes=("small", "large"),
        test_mae=None,
        balanced_accuracy=0.9,
        unit="",
    )
    loaded = load_bundle(save_bundle(model, tmp_path / "classes.zip"), QUICK)
    found = predict_structures(loaded, files)
    assert_same(found, predict_structures(model, files))
    assert set(found["near_1_value"]) <= {"small", "large"}


def test_a_network_of_the_targets_own(files, tmp_path):
    made = network(seed=3)
    trained = TrainedModel(made.state_dict(), made.architecture, INVARIANT, ("volume",), ("Å³/atom",))
    base = made_model("magpie")
    structures = list(base.examples)
    vectors = trained.described(structures).vectors
    from heads.calibration import Calibration
    from heads.domain import Domain
    from heads.intervals import Intervals

    n = len(structures)
    domain = Domain.learn({NETWORK: vectors}, np.arange(n), [one.numbers.tolist() for one in structures])
    y = np.arange(1.0, n + 1)
    intervals = Intervals.learn(domain.own, 1.1 * y, np.zeros(n), y, y, np.arange(n), np.arange(n))
    model = replace(
        base,
        card=replace(base.card, method="finetune", reads="", rows=n),
        sources={NETWORK: Reads(NETWORK, "ab" * 32, trained.checkpoints)},
        members=(),
        network=trained,
        calibration=Calibration(domain, intervals, base.calibration.rows[:n], {}),
    )
    loaded = load_bundle(save_bundle(model, tmp_path / "own.zip"), QUICK)
    assert_same(predict_structures(loaded, files), predict_structures(model, files))


def test_a_source_model_of_ones_own_goes_with_it(files, tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_MODELS", str(tmp_path / "mine"))
    publish(
        "mine",
        network(seed=1).state_dict(),
        (Target(dataset="alpha", property="gap", unit="eV"),),
        INVARIANT,
        {
            "title": "gap",
            "training": Training(data="alpha", settings="quick", attribution="nobody"),
            "licence": "none",
        },
    )
    model = made_model("mine", strains=1)
    expected = predict_structures(model, files)
    save_bundle(model, tmp_path / "volume.zip")
    monkeypatch.setenv("STRATA_MODELS", str(tmp_path / "nothing"))  # elsewhere nobody has that model
    with pytest.raises(StrataError, match="unknown source model 'mine'"):
        load_card("mine")
    loaded = load_bundle(tmp_path / "volume.zip", QUICK)
    assert_same(predict_structures(loaded, files), expected)
    # It can be passed on from there, and another model of the same name here changes nothing.
    save_bundle(loaded, tmp_path / "again")
    publish(
        "mine",
        network(seed=2).state_dict(),
        (Target(dataset="alpha", property="gap", unit="eV"),),
        INVARIANT,
        {
            "title": "gap",
            "training": Training(data="alpha", settings="quick", attribution="nobody"),
            "licence": "none",
        },
    )
    assert_same(predict_structures(load_bundle(tmp_path / "again", QUICK), files), expected)


def test_without_data_nothing_of_the_rows_is_inside(files, tmp_path):
    model = made_model("magpie")
    save_bundle(model, tmp_path / "bare", without_data=True)
    everything = b"".join(
        path.read_bytes() for path in sorted((tmp_path / "bare").rglob("*")) if path.is_file()
    )
    for row in model.calibration.rows:
        assert row.entry_id.encode() + b'"' not in everything
        assert row.structure_id.encode() not in everything
        assert np.float64(row.value).tobytes() not in everything
        assert repr(row.value).encode() not in everything
    for point in model.calibration.domain.spaces["magpie"].points:
        assert point.tobytes() not in everything
    loaded = load_bundle(tmp_path / "bare", QUICK)
    found, expected = predict_structures(loaded, files), predict_structures(model, files)
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-6)
    assert found["near_1"].tolist() == found["in_training"].tolist() == ["", ""]
    assert np.isnan(found["near_1_value"]).all()
    assert found["new_elements"].tolist() == expected["new_elements"].tolist()
    assert ((found["low"] < found["value"]) & (found["value"] < found["high"])).all()
    assert "not in the bundle" in (tmp_path / "bare" / "README.md").read_text()


def test_without_data_a_head_that_keeps_rows_stays_at_home(tmp_path):
    model = made_model("magpie", heads=(SVR(gammas=(0.1,), costs=(3.0,)),))
    with pytest.raises(StrataError, match="svr on all may keep vectors or values of training rows"):
        save_bundle(model, tmp_path / "bare", without_data=True)
    assert not (tmp_path / "bare").exists()


def test_the_model_card(model, tmp_path):
    save_bundle(model, tmp_path / "volume.zip")
    save_bundle(model, tmp_path / "volume")
    text = (tmp_path / "volume" / "README.md").read_text(encoding="utf-8")
    _, front, prose = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "cc-by-4.0"
    assert facts["library_name"] == "strata"
    assert facts["datasets"] == ["metals"]
    for words in ("0.5 Å³/atom", "Base", "90 %", "72 entries", "alignn_mp_eform", "10.1000/1", "A. Author"):
        assert words in prose
    (code,) = re.findall(r"```python\n(.*?)```", prose, re.DOTALL)
    assert 'strata.load("volume")' in code


def test_text_of_the_card_is_nothing_but_text(tmp_path):
    model = made_model("magpie", licence="<script>alert(1)</script>\n# shout")
    save_bundle(model, tmp_path / "volume")
    prose = (tmp_path / "volume" / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    assert "<script" not in prose
    assert "\n# shout" not in prose
    with pytest.raises(StrataError, match=r"metals/volume, unit: .*no name has"):
        save_bundle(made_model("magpie", unit="<b>"), tmp_path / "other")


def test_only_a_bundle_is_replaced_and_by_force(tmp_path):
    model = made_model("magpie")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.txt").write_text("x")
    for force in (False, True):
        with pytest.raises(StrataError, match="is no bundle"):
            save_bundle(model, photos, force=force)
    assert (photos / "one.txt").exists()
    for name in ("volume", "volume.zip"):
        save_bundle(model, tmp_path / name)
        with pytest.raises(StrataError, match="is there already"):
            save_bundle(model, tmp_path / name)
        save_bundle(model, tmp_path / name, force=True)


def test_a_zip_made_by_hand_with_its_folder_is_read(tmp_path):
    import shutil

    save_bundle(made_model("magpie"), tmp_path / "volume")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "volume")
    assert load_bundle(tmp_path / "packed.zip", QUICK).card.name == "metals/volume"


def test_golden_predictions_that_differ_name_the_environments(tmp_path):
    folder = save_bundle(made_model("magpie"), tmp_path / "volume")

    def older(facts):
        facts["environment"]["numpy"] = "1.0"

    def elsewhere(facts):
        facts["value"][0] += 0.5

    rewritten(folder / "golden.json", elsewhere)
    rewritten(folder / "config.json", older)
    sealed(folder)
    with pytest.raises(
        StrataError, match=r"golden\.json: of its structure 0 .*numpy 1\.0 there.*check=False"
    ):
        load_bundle(folder, QUICK)
    assert load_bundle(folder, QUICK, check=False).card.rows == 72


def test_what_rounding_moves_is_no_difference(tmp_path):
    folder = save_bundle(made_model("magpie"), tmp_path / "volume")

    def rounded(facts):
        facts["value"] = [value * (1 + 3e-6) for value in facts["value"]]

    rewritten(folder / "golden.json", rounded)
    assert load_bundle(sealed(folder), QUICK).card.rows == 72


def test_a_class_of_ones_own_needs_trust(tmp_path, monkeypatch):
    (tmp_path / "heads_of_theirs.py").write_text(
        "from heads.ridge import Ridge\nclass Nearest(Ridge):\n    pass\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from heads_of_theirs import Nearest

    folder = save_bundle(made_model("magpie", heads=(Nearest(),)), tmp_path / "volume")
    with pytest.raises(StrataError, match=r"trust=\['heads_of_theirs.Nearest'\]"):
        load_bundle(folder, QUICK)
    assert load_bundle(folder, QUICK, trust=["heads_of_theirs.Nearest"]).card.rows == 72


def test_python_has_it_by_one_word(tmp_path):
    strata.save_bundle(made_model("magpie"), tmp_path / "volume")
    loaded = strata.load(tmp_path / "volume")
    (tmp_path / "alloy.cif").write_text(ALLOY)
    ((_, structure),) = read_structures(tmp_path / "alloy.cif", 20.0)
    assert loaded.predict(structure)["value"].notna().all()
    assert len(loaded.near(structure, 3)) == 3
    with pytest.raises(StrataError, match="neither DATASET/PROPERTY of this project nor"):
        strata.load("nothing/of/this")
    with pytest.raises(StrataError, match="is not there"):
        strata.load(tmp_path / "gone.zip")
