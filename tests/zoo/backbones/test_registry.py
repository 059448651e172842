"""Backbones are found by name, in the project's folder and in one's own, and nothing else is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoo.backbones
from core.errors import StrataError
from tests.toys import BACKBONES
from zoo.backbones.alignn.backbone import ALIGNN
from zoo.backbones.alignn.runner import AlignnRunner
from zoo.backbones.base import Backbone
from zoo.backbones.registry import OWN_VARIABLE, find, names, runner_of


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A folder of one's own backbones; the package forgets it, and what came from it, afterwards."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv(OWN_VARIABLE, str(folder))
    monkeypatch.setattr(zoo.backbones, "__path__", list(zoo.backbones.__path__))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("zoo.backbones."):
            del sys.modules[name]


def test_alignn_is_there_and_helpers_are_not():
    assert "alignn" in names()
    assert not {"base", "check", "engine", "registry"} & set(names())


def test_the_class_and_its_runner():
    assert find("alignn") is ALIGNN
    assert runner_of(ALIGNN) is AlignnRunner


def test_a_module_in_ones_own_folder_is_found(own):
    shutil.copy(BACKBONES / "toy.py", own / "mine.py")
    assert {"mine", "alignn"} <= set(names())
    assert issubclass(find("mine"), Backbone)
    assert find("mine").__module__ == "zoo.backbones.mine"


def test_a_package_in_ones_own_folder_is_found(own):
    (own / "boxed").mkdir()
    shutil.copy(BACKBONES / "toy.py", own / "boxed" / "__init__.py")
    assert "boxed" in names()


def test_a_file_without_a_backbone_is_passed_over_and_not_run(own):
    (own / "notes.py").write_text("raise RuntimeError('imported')\n")
    (own / "broken.py").write_text("BACKBONE = 1 / 0\n")
    found = names()
    assert "notes" not in found
    assert "broken" in found, "listing imports nothing"
    with pytest.raises(ZeroDivisionError):
        find("broken")


def test_no_folder_of_ones_own_takes_the_place_of_a_backbone_of_the_project(own):
    shutil.copy(BACKBONES / "toy.py", own / "alignn.py")
    assert find("alignn") is ALIGNN


def test_an_unknown_backbone_names_the_nearest():
    with pytest.raises(StrataError, match=r"unknown backbone 'alinn'; did you mean 'alignn'"):
        find("alinn")


@pytest.mark.parametrize("name", ["../alignn", "a.b", "", "os"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(StrataError, match=r"not a valid name|unknown backbone"):
        find(name)


@pytest.mark.parametrize("text", ["BACKBONE = 3\n", "BACKBONE = dict\n"])
def test_what_is_no_backbone_is_refused(own, text):
    (own / "other.py").write_text(text)
    with pytest.raises(StrataError, match=r"backbone other: BACKBONE is not a class made from"):
        find("other")


def test_a_runner_of_another_kind_is_refused():
    class Wrong(ALIGNN):
        runner = "zoo.backbones.alignn.architecture:Architecture"

    with pytest.raises(StrataError, match=r"architecture:Architecture is not a class made from .*Runner"):
        runner_of(Wrong)


def test_a_missing_library_is_named_with_its_extra():
    class Needy(ALIGNN):
        stack = (("no_such_library", "extract"),)

    with pytest.raises(StrataError, match=r"no_such_library.*\[extract\]"):
        runner_of(Needy)


def test_finding_imports_no_torch():
    code = (
        "import sys; from zoo.backbones.registry import find; find('alignn'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
