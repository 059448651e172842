"""Options that every command takes, and that what a command reads is what they name."""

import inspect
import re
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

import strata

NOT_READ = "not read here"


def commands():
    """Every command with the words that call it, walked from the root."""

    def walk(command, words):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words, command
            return
        for name, child in inner.items():
            yield from walk(child, (*words, name))

    return dict(walk(typer.main.get_command(strata.command()), ()))


def options_of(command):
    context = command.make_context("strata", [], resilient_parsing=True)
    return {name: item for item in command.get_params(context) for name in item.opts}


ALL = commands()


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_takes_store_and_params(words):
    assert {"--store", "--params", "--help"} <= set(options_of(ALL[words]))


def test_commands_that_read_the_settings_or_the_store_say_so():
    reads = {
        option: {
            " ".join(words) for words in ALL if NOT_READ not in (options_of(ALL[words])[option].help or "")
        }
        for option in ("--store", "--params")
    }
    stages = {"ingest", "extract", "columns", "split", "fit", "finetune", "evaluate", "report"}
    others = {
        "train",
        "train-source",
        "experiment",
        "predict",
        "screen",
        "near",
        "publish",
        "datasets remove",
    }
    assert stages | others <= reads["--store"] & reads["--params"]
    assert {"info", "sql", "store verify", "datasets duplicates", "datasets report"} <= reads["--store"]
    assert {"embed", "heads", "fetch"} <= reads["--params"]


@pytest.mark.parametrize("room", strata.ROOMS)
def test_no_command_names_a_store_or_settings_of_its_own(room):
    source = inspect.getsource(import_module(f"{room}.cli"))
    defaults = re.compile(
        r'typer\.Option\(Path\("(store|params\.yaml)"\)|\] = Path\("(store|params\.yaml)"\)'
    )
    left = defaults.sub("", source)
    assert not re.findall(
        r'Path\("store"\)|Path\("params\.yaml"\)|load\(\)|load_if_there\(\)|PARAMS_FILE', left
    )


def test_an_option_that_is_not_read_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(strata.command(), ["splits", "--store", "nowhere", "--params", "none.yaml"])
    assert (found.exit_code, "random" in found.output) == (0, True)


def test_settings_of_another_name_have_to_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(strata.command(), ["fetch", "ase_g2", "--params", "none.yaml"])
    assert "none.yaml is missing" in str(found.exception)
    assert CliRunner().invoke(strata.command(), ["fetch", "ase_g2"]).exit_code == 0
