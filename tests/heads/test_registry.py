"""Names, sections, presets, a user's own classes, and loading what was saved."""

import subprocess
import sys

import pytest

import heads
from core.errors import StrataError
from core.params import load, parse
from heads import Ridge, built_in, check_head, load_head, resolve
from heads.registry import check_sections
from tests.conftest import ROOT

PRESETS = {"demo": {"max_epochs": 5}, "paper": {"patience": 200}}


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of a user's own in the current folder, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = (
        "from heads import Head\n\n"
        "class Median(Head):\n"
        "    def __init__(self, shift=0.0):\n"
        "        self.shift = shift\n"
        "    def _fit(self, X, y, X_val, y_val):\n"
        "        self.middle_ = float(sorted(y)[len(y) // 2])\n"
        "    def _predict(self, X):\n"
        "        return X[:, 0] * 0 + self.middle_ + self.shift\n\n"
        "class NoHead:\n"
        "    pass\n"
    )
    (tmp_path / "own_heads.py").write_text(text)
    yield "own_heads"
    sys.modules.pop("own_heads", None)


@pytest.mark.parametrize("name", built_in())
def test_every_built_in_name_is_a_head(name):
    spec = resolve(name)
    assert spec.built_in
    assert spec.make().get_params() == dict(spec.settings)


def test_settings_are_the_sections_over_the_defaults():
    spec = resolve("lightgbm", {"lightgbm": {"num_leaves": 7}})
    assert (spec.settings["num_leaves"], spec.settings["seed"], spec.label) == (7, 0, "")


def test_a_preset_is_merged_and_labels():
    section = {"preset": "demo", "presets": PRESETS, "seed": 3}
    spec = resolve("nn17", {"nn17": section})
    assert (spec.settings["max_epochs"], spec.settings["seed"], spec.label) == (5, 3, "demo")


def test_presets_that_are_not_chosen_have_no_say():
    assert resolve("nn17", {"nn17": {"presets": PRESETS}}).settings["max_epochs"] == 100_000


@pytest.mark.parametrize(
    ("name", "sections", "message"),
    [
        ("rigde", {}, "unknown head 'rigde' in params.yaml, heads; did you mean 'ridge'"),
        ("ridge", {"ridge": {"alpha": 1}}, "unknown setting 'alpha' .*did you mean 'alphas'"),
        (
            "nn17",
            {"nn17": {"preset": "dmo", "presets": PRESETS}},
            "unknown preset 'dmo'.*did you mean 'demo'",
        ),
        ("nn17", {"nn17": {"preset": "demo"}}, "unknown preset 'demo'"),
        ("nn17", {"nn17": {"preset": "demo", "presets": PRESETS, "max_epochs": 1}}, "max_epochs is set both"),
        ("mine", {"mine": {"class": "ridg"}}, "unknown head 'ridg'"),
        ("../x", {}, "not a valid name"),
        ("no_such_module.Head", {}, "no module 'no_such_module'"),
        ("own_heads.NoHead", {}, "not a class made from heads.Head"),
        ("own_heads.Missing", {}, "not a class made from heads.Head"),
        ("ridge", {"ridge": {"alphas": {1, 2}}}, "expected a list of numbers"),
    ],
)
def test_what_cannot_be_is_named(own_module, name, sections, message):
    with pytest.raises(StrataError, match=message):
        resolve(name, sections)


def test_a_users_class_is_found_in_the_current_folder(own_module):
    spec = resolve("own_heads.Median", {"own_heads.Median": {"shift": 1.5}})
    assert not spec.built_in
    assert spec.make().shift == 1.5
    check_head(spec.make())


def test_variants_of_a_class_are_sections(own_module):
    sections = {
        "low": {"class": "own_heads.Median", "shift": -1.0},
        "stiff": {"class": "ridge", "alphas": [9.0]},
    }
    assert resolve("low", sections).make().shift == -1.0
    assert resolve("stiff", sections).make().alphas == [9.0]


def test_sections_are_checked_though_nobody_asked_for_them():
    check_sections({"mean": {}, "somewhere.Else": {"k": 1}})
    with pytest.raises(StrataError, match="did you mean 'ridge'"):
        check_sections({"rigde": {}})
    with pytest.raises(StrataError, match="did you mean 'alphas'"):
        check_sections({"ridge": {"alpas": [1.0]}})


def test_a_saved_head_is_loaded_by_its_own_class(tmp_path):
    Ridge([2.0]).fit([[0.0], [1.0]], [0.0, 1.0]).save(tmp_path)
    assert isinstance(load_head(tmp_path), Ridge)


def test_a_file_does_not_decide_which_code_runs(own_module, tmp_path):
    spec = resolve("own_heads.Median")
    spec.make().fit([[0.0], [1.0]], [0.0, 1.0]).save(tmp_path / "model")
    with pytest.raises(StrataError, match="if you trust it"):
        load_head(tmp_path / "model")
    for trusting in (
        {"fit": {"heads": ["own_heads.Median"]}},
        {"heads": {"own_heads.Median": {}}},
        {"heads": {"middle": {"class": "own_heads.Median"}}},
    ):
        assert load_head(tmp_path / "model", parse(trusting)).predict([[3.0]]).tolist() == [1.0]


def test_params_yaml_spells_out_both_presets_and_every_setting():
    params = load(ROOT / "params.yaml")
    check_sections(params.heads)
    for name in built_in():
        section = params.heads[name]
        chosen = section.get("presets", {}).get(section.get("preset"), {})
        assert {*section, *chosen} - {"preset", "presets"} == set(resolve(name).settings), name
    demo = resolve("nn17", params.heads)
    assert (demo.label, demo.settings["max_epochs"], demo.settings["patience"]) == ("demo", 40, 20)


def test_the_paper_preset_is_the_class_as_it_is():
    section = dict(load(ROOT / "params.yaml").heads["nn17"]) | {"preset": "paper"}
    paper = resolve("nn17", {"nn17": section})
    default = dict(resolve("nn17").settings)
    assert dict(paper.settings) | {"layers": None} == default | {"layers": None}
    assert paper.settings["layers"] == list(default["layers"])


def test_built_in_heads_are_the_modules_that_name_one():
    assert built_in() == {
        "forest": "heads.forest.Forest",
        "lightgbm": "heads.lightgbm.LightGBM",
        "logistic": "heads.logistic.Logistic",
        "mean": "heads.mean.Mean",
        "nn17": "heads.nn17.NN17",
        "ridge": "heads.ridge.Ridge",
        "svr": "heads.svr.SVR",
        "mlp": "heads.mlp.MLP",
    }


def test_finding_the_built_in_heads_imports_none():
    code = (
        "import sys; from heads.registry import built_in; "
        "print({f'heads.{name}' for name in built_in()} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_built_in_head_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "lowest.py").write_text(
        "from heads.mean import Mean\n\n\n"
        "class Lowest(Mean):\n"
        '    """The lowest training target."""\n\n'
        "    def _fit(self, X, y, X_val, y_val):\n"
        "        self.mean_ = float(y.min())\n\n\n"
        "HEAD = Lowest\n"
    )
    monkeypatch.setattr(heads, "__path__", [*heads.__path__, str(tmp_path)])
    try:
        spec = resolve("lowest")
        assert spec.built_in
        spec.make().fit([[0.0], [1.0]], [2.0, 3.0]).save(tmp_path / "model")
        assert load_head(tmp_path / "model").predict([[5.0]]).tolist() == [2.0]
        with pytest.raises(StrataError, match="did you mean 'lowest'"):
            resolve("lowst")
    finally:
        sys.modules.pop("heads.lowest", None)
