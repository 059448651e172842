"""Cards for a user's own data, written by `strata ingest PATH --name NAME …`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from core.atomic import whole_file, write_whole
from core.errors import StrataError, check_name, unknown
from core.params import PARAMS_FILE, in_words, load
from core.units import check_unit
from etl.cards import CARDS, CLASS_UNIT, DatasetCard, list_cards, own_folder
from etl.providers import folder
from featurestore.columns import NULL_TOKENS

Origin = Literal["measured", "computed", "estimated"]
MaterialClass = Literal["3D", "2D", "molecule"]

_DATASETS = re.compile(r"^datasets:[ \t]*\[[^\]\n#]*\](?P<comment>)", re.MULTILINE)
# as DVC writes it after `dvc exp run -S`: a line for each name, perhaps with a comment before the first
_BY_LINES = re.compile(
    r"^datasets:[ \t]*(?P<comment>#[^\n]*)?\n(?:[ \t]*\n)*(?:[ \t]*-[ \t]+[\w.-]+[ \t]*(?:\n|\Z))+",
    re.MULTILINE,
)


def own_card(
    path: Path,
    name: str,
    properties: Sequence[str],
    units: Sequence[str],
    *,
    origin: Origin,
    material_class: MaterialClass = "3D",
    id_column: str | None = None,
    logs: Sequence[str] = (),
) -> DatasetCard:
    """Make the card of a folder or file of one's own; `save_card` writes it.

    properties: names, each for the column of that name, or NAME=COLUMN; in a table without header the
    first name is for the first column, and so on. units: one for each property, or one for all of them (see
    `core.units`). logs: names of properties that are positive and learned as their logarithm. A property of
    the unit `class` has as its classes the labels that the column has now. A column `split` becomes the
    published split of every property.

    Raises `StrataError`: a column that the data does not have, another number of units than of
    properties, what is no unit, a name that is taken by a dataset that is not one's own.
    """
    check_name(name, "dataset")
    units = _one_each(properties, units)
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
            "unit": unit if unit == CLASS_UNIT else check_unit(unit, f"unit of {key}"),
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
    if offered.split_column not in (None, known, *(item["column"] for item in chosen.values())):
        facts["split_column"] = offered.split_column
    try:
        return DatasetCard.model_validate(facts)
    except ValidationError as error:
        raise StrataError(f"the card of {name}: {in_words(error.errors()[0]['msg'])}") from None


def save_card(card: DatasetCard) -> Path:
    """Write a card of one's own where the pipeline looks for it; returns its path."""
    path = own_folder() / f"{card.name}.yaml"
    facts = card.model_dump(mode="json", exclude_unset=True)
    write_whole(path, yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    return path


def is_own(card: DatasetCard) -> bool:
    """Tell whether a card is one's own: it names data of one's own, or lies beside such cards."""
    own = own_folder()
    beside = own.is_dir() and not own.samefile(CARDS) and (own / f"{card.name}.yaml").is_file()
    return card.path is not None or beside


def add_to_params(name: str, path: Path = PARAMS_FILE) -> bool:
    """Name a dataset under `datasets` in params.yaml, so that the pipeline runs it; keeps all comments.

    Returns False, having changed nothing, where it is named already. Raises `StrataError` where the
    list has comments or anything else between its names: it says what to write.
    """
    before = load(path).datasets
    if name in before:
        return False
    _write_datasets(path, [*before, name], f"add {name} to `datasets` by hand")
    return True


def drop_from_params(name: str, path: Path = PARAMS_FILE) -> bool:
    """Take a dataset out of `datasets` in params.yaml; the counterpart of `add_to_params`."""
    before = load(path).datasets
    if name not in before:
        return False
    left = [other for other in before if other != name]
    _write_datasets(path, left, f"take {name} out of `datasets` by hand")
    return True


def _write_datasets(path: Path, names: Sequence[str], otherwise: str) -> None:
    text = path.read_text(encoding="utf-8")
    inline = _DATASETS.search(text)
    found = inline or _BY_LINES.search(text)
    if found is None:
        raise StrataError(f"{path}: {otherwise}; that list is written in a way that is not understood here")
    comment = f"  {found['comment']}" if found["comment"] else ""
    whole = f"datasets: [{', '.join(names)}]{comment}" + ("" if inline else "\n")
    changed = f"{text[: found.start()]}{whole}{text[found.end() :]}"
    with whole_file(path) as temporary:
        temporary.write_text(changed, encoding="utf-8")
        load(temporary)  # refuses what is not a params file any more


def _one_each(properties: Sequence[str], units: Sequence[str]) -> list[str]:
    if not properties:
        raise StrataError("no property is named: say --property NAME (or NAME=COLUMN) and its --unit")
    if len(units) == 1:
        return [units[0]] * len(properties)
    if len(units) != len(properties):
        raise StrataError(
            f"{len(properties)} properties ({', '.join(properties)}) and {len(units)} units "
            f"({', '.join(units) or 'none'}): give --unit once for all of them, or one each in their order"
        )
    return list(units)


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
