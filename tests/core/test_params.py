import pytest

from core.errors import StrataError
from core.params import Finetune, Params, load_if_there, parse, section


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("seed", 10**22), ("bootstrap", -1), ("bootstrap", 10**9)]
)
def test_numbers_of_evaluate_that_lead_nowhere_are_named(name, value):
    with pytest.raises(StrataError, match=rf"evaluate\.{name}"):
        parse({"evaluate": {name: value}})


@pytest.mark.parametrize("stage", ["extract", "finetune", "source"])
@pytest.mark.parametrize(
    ("name", "nearest"), [("gpu", "cuda"), ("GPU:0", "cuda"), ("cdua", "cuda"), ("cpus", "cpu")]
)
def test_an_unknown_device_names_the_nearest(stage, name, nearest):
    with pytest.raises(
        StrataError, match=rf"{stage}\.device: unknown device '{name}'; did you mean '{nearest}'"
    ):
        parse({stage: {"device": name}})


def test_devices_that_are_known():
    for name in ("auto", "cpu", "cuda", "cuda:0", "cuda:11"):
        assert parse({"extract": {"device": name}}).extract.device == name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"datasets": "ase_g2"}, "datasets: Input should be a list, got 'ase_g2'"),
        ({"extract": {"source_models": []}}, "List should have at least 1 item"),
        ({"fit": {"properties": ["gap"]}}, "fit.properties: Input should be a mapping"),
        (
            {"fit": {"choose_by": "cvv"}},
            "unknown value 'cvv' in params.yaml, fit.choose_by; did you mean 'cv'",
        ),
    ],
)
def test_errors_speak_of_what_yaml_has(settings, words):
    with pytest.raises(StrataError) as caught:
        parse(settings)
    assert words in str(caught.value)
    assert "uple" not in str(caught.value)


def test_a_word_that_is_none_of_the_choices_names_the_nearest():
    with pytest.raises(StrataError, match="'embedings' in strata train, freeze; did you mean 'embeddings'"):
        section(Finetune, {"freeze": "embedings"}, "strata train")


def test_settings_are_optional_only_under_their_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_if_there() == Params()
    with pytest.raises(StrataError, match=r"other\.yaml is missing"):
        load_if_there("other.yaml")
    (tmp_path / "params.yaml").write_text("datasets: [ase_g2]\n")
    assert load_if_there().datasets == ("ase_g2",)


@pytest.mark.parametrize(("old", "new"), [(True, "tf32"), (False, "float32"), ("yes", "float32")])
def test_the_older_setting_of_the_numeric_mode_names_the_present_one(old, new):
    with pytest.raises(StrataError, match=rf"here, extract: .*extract\.precision; write `precision: {new}`"):
        parse({"extract": {"tf32": old}}, "here")


def test_an_unknown_numeric_mode_is_named_with_the_known_ones():
    with pytest.raises(StrataError, match=r"'half' in .*precision \(known: bfloat16, float32, tf32\)"):
        parse({"extract": {"precision": "half"}})
    assert parse({"extract": {"precision": "bfloat16"}}).extract.precision == "bfloat16"
