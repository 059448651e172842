"""What the documents and the settings say is so: links lead somewhere, names agree."""

import re
from pathlib import Path

import pytest
import yaml

import strata
from core.params import Params, Section, load

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def read(path: Path) -> str:
    return COMMENT.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    links = [link for link in LINK.findall(read(document)) if "://" not in link and not link.startswith("#")]
    missing = [link for link in links if not (document.parent / link.partition("#")[0]).exists()]
    assert not missing


def test_every_document_is_reachable_from_the_index():
    index = ROOT / "docs" / "index.md"
    named = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(read(index))}
    assert set((ROOT / "docs").glob("**/*.md")) - {index} <= named


def test_commands_in_documents_exist():
    commands = {
        command.name or command.callback.__name__.replace("_", "-")
        for room in strata.ROOMS
        for app in [__import__(f"{room}.cli").cli.app]
        for command in (*app.registered_commands, *app.registered_groups)
    }
    for document in DOCUMENTS:
        for name in re.findall(r"^(?:\$ )?strata ([a-z]+)", read(document), re.MULTILINE):
            assert name in commands, f"{document.name} calls `strata {name}`"


def test_stages_are_sections_and_read_keys_that_exist():
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    # no stages: the source model (train-source reads it) and experiments
    named = set(params) - {"datasets", "heads", "source", "experiments"}
    assert named == set(stages) - {"report"}  # a report has no settings
    for name, stage in stages.items():
        stage = stage.get("do", stage)  # noqa: PLW2901 - one stage per item of a mapping
        assert stage["cmd"].startswith(f"strata {name}")
        read = {key.split(".")[0] for key in stage.get("params", []) if isinstance(key, str)}
        assert read <= set(params)


def test_params_yaml_names_every_setting():
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert raw.keys() == Params.model_fields.keys()
    for section, field in Params.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            assert raw[section].keys() == field.annotation.model_fields.keys(), section
    load(ROOT / "params.yaml")  # refuses keys and values that are not settings


def test_cards_of_the_default_datasets_exist():
    assert all((ROOT / "etl" / "datasets" / f"{name}.yaml").is_file() for name in Params().datasets)


def test_changelog_tells_of_this_version_or_the_next():
    headings = re.findall(r"^## (.+)$", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert any(heading.startswith(("Unreleased", strata.__version__)) for heading in headings)


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if "exp run" in read(path) and path.parent == ROOT / "docs"]
)
def test_examples_of_experiments_warn_that_dvc_writes_the_settings_anew(path):
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert re.search(r"DVC (then writes|write) `params\.yaml` anew, without its layout", text)
    assert "git checkout params.yaml" in text
