"""Cards for a user's own data, written by `strata ingest PATH --name NAME …`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from core.atomic import whole_file, write_whole
from core.errors import StrataError, check_name, unknown
from core.params import PARAMS_FILE, load
from etl.cards import CLASS_UNIT, DatasetCard, list_cards, own_folder
from etl.providers import folder
from featurestore.columns import NULL_TOKENS

_DATASETS = re.compile(r"^datasets:[ \t]*\[(?P<names>[^\]\n#]*)\]", re.MULTILINE)


def write_card(
    path: Path,
    name: str,
    properties: Sequence[str],
    units: Sequence[str],
    *,
    origin: Literal["measured", "computed", "estimated"] = "measured",
    material_class: Literal["3D", "2D", "molecule"] = "3D",
    id_column: str | None = None,
    logs: Sequence[str] = (),
) -> Path:
    """Write the card of a folder or file of one's own; returns the card's path.

    properties: names, each for the column of that name, or NAME=COLUMN; in a table without header the
    first name is for the first column, and so on. units: one for each property. logs: names of properties
    that are positive and learned as their logarithm. A property of the unit `class` has as its classes the
    labels that the column has now.

    Raises `StrataError`: a column that the data does not have, another number of units than of
    properties, a name that is taken by a dataset that is not one's own.
    """
    check_name(name, "dataset")
    if not properties or len(units) != len(properties):
        raise StrataError(
            f"{len(properties)} properties and {len(units)} units: give --property and --unit for each"
        )
    taken = next((card for card in list_cards() if card.name == name), None)
    if taken is not None and taken.path is None:
        raise StrataError(f"dataset {name} is there already ({taken.title}); choose another name")
    offered = folder.columns(path)
    known = id_column or offered.id_column
    if known is not None and known not in offered.values:
        raise unknown("column", known, offered.values, str(path))
    chosen: dict[str, dict[str, Any]] = {}
    for place, (text, unit) in enumerate(zip(properties, units, strict=True)):
        key, column = _column(text, place, offered, str(path))
        chosen[check_name(key, "property")] = {
            "column": column,
            "unit": unit,
            "origin": origin,
            "description": key.replace("_", " "),
        }
        if unit == CLASS_UNIT:
            chosen[key]["classes"] = folder.labels(path, column)
    for key in logs:
        if key not in chosen:
            raise unknown("property", key, chosen, "--log")
        chosen[key]["transform"] = "log"
    facts: dict[str, Any] = {
        "name": name,
        "title": f"{name}, data of one's own",
        "note": f"Read from {path.name}; nothing is known of it but what this card says.",
        "provider": "folder",
        "path": _portable(path),
        "material_class": material_class,
        "null_tokens": list(NULL_TOKENS),
        "text_numbers": True,
        "properties": chosen,
        "licence": "not stated",
        "citation": "one's own data",
    }
    if known is not None:
        facts["id_column"] = known
    if offered.structure_column is not None:
        # The format is seen in every cell; the schema wants one to be named.
        facts["structure"] = {"column": offered.structure_column, "format": "pymatgen"}
    if offered.composition_column is not None:
        facts["composition_column"] = offered.composition_column
    try:
        DatasetCard.model_validate(facts)
    except ValidationError as error:
        raise StrataError(f"the card of {name}: {error.errors()[0]['msg']}") from None
    return _save(facts, own_folder() / f"{name}.yaml")


def add_to_params(name: str, path: Path = PARAMS_FILE) -> bool:
    """Name a dataset under `datasets` in params.yaml, so that the pipeline runs it; keeps all comments.

    Returns False, having changed nothing, where it is named already. Raises `StrataError` where the list
    is not written on one line: it says what to write.
    """
    before = load(path)
    if name in before.datasets:
        return False
    text = path.read_text(encoding="utf-8")
    found = _DATASETS.search(text)
    if found is None:
        raise StrataError(f"{path}: add {name} to `datasets` by hand; that list is not on one line here")
    names = ", ".join([*before.datasets, name])
    changed = f"{text[: found.start()]}datasets: [{names}]{text[found.end() :]}"
    with whole_file(path) as temporary:
        temporary.write_text(changed, encoding="utf-8")
        load(temporary)  # refuses what is not a params file any more
    return True


def _column(text: str, place: int, offered: folder.Columns, where: str) -> tuple[str, str]:
    key, given, column = text.partition("=")
    if given:
        if column not in offered.values:
            raise unknown("column", column, offered.values, where)
        return key, column
    if key in offered.values:
        return key, key
    if not offered.named and place < len(offered.values):
        return key, offered.values[place]
    if len(offered.values) == 1:
        return key, offered.values[0]
    raise unknown("column", key, offered.values, f"{where} (or say {key}=COLUMN)")


def _portable(path: Path) -> str:
    """Relative to the current folder where it lies in it: the project can then be moved."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def _save(facts: dict[str, Any], path: Path) -> Path:
    write_whole(path, yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    return path
