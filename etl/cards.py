"""Dataset cards: `etl/datasets/<name>.yaml`, one file a dataset, checked by this schema."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from etl.errors import StrataError, check_name, unknown
from etl.params import Section

CARDS = Path(__file__).parent / "datasets"
CARDS_VARIABLE = "STRATA_DATASETS"  # names a further folder of cards


class Property(Section):
    """One column of a dataset: where it stands, what it means and in which unit."""

    column: str = Field(min_length=1, description="the provider's own name of the column")
    unit: str = Field(
        min_length=1, description="plain text, such as eV/atom; dimensionless for a pure number"
    )
    description: str = Field(min_length=1)
    origin: Literal["measured", "computed", "estimated"]
    paper_name: str | None = Field(default=None, description="the short name in the paper's tables")
    formula: str | None = Field(default=None, description="how a derived value is made")


class Source(Section):
    """A published file, and how it is recognised."""

    file: str = Field(min_length=1, description="name of the file")
    url: str = Field(min_length=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="of the published file")
    unverified: bool = Field(default=False, description="use a local file that no lock names")


class StructureColumn(Section):
    """Where a record's structure stands and how it is written."""

    column: str
    format: Literal["jarvis", "pymatgen"]
    aliases: dict[str, str] = Field(default_factory=dict, description="symbols replaced, such as D: H")


class DatasetCard(Section):
    """Everything Strata knows about a dataset before it reads it."""

    name: str
    title: str = Field(min_length=1)
    note: str = Field(min_length=1, description="what a user must know before trusting the values")
    caution: str | None = Field(default=None, description="a few words beside the values wherever they show")
    provider: str
    collection: str | None = Field(default=None, description="of a provider that holds several datasets")
    source: Source | None = Field(default=None, description="none: the provider's package holds the data")
    id_column: str | None = None
    structure: StructureColumn | None = None
    material_class: Literal["3D", "2D", "molecule"]
    expected_rows: int = Field(ge=1, description="records of the published dataset")
    null_tokens: tuple[str, ...] = Field(default=(), description="words that stand for a missing value")
    properties: dict[str, Property] = Field(min_length=1)
    licence: str = Field(min_length=1)
    doi: str | None = None
    citation: str = Field(min_length=1)

    @model_validator(mode="after")
    def _a_file_has_columns(self) -> Self:
        if self.source and not (self.id_column and self.structure):
            raise ValueError("a card with a source also needs id_column and structure")
        columns = [item.column for item in self.properties.values()]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"two properties read the column {', '.join(twice)}")
        return self


def list_cards() -> list[DatasetCard]:
    """Every card, in the order of their names."""
    return [load_card(name) for name in sorted(_files())]


def load_card(name: str) -> DatasetCard:
    """Return the card of a dataset.

    Raises `StrataError` naming the nearest dataset for an unknown name, and naming file, key and value
    for a card that breaks the schema.

    >>> load_card("ase_elements").properties["volume"].unit
    'Å³/atom'
    """
    check_name(name, "dataset")
    files = _files()
    if name not in files:
        raise unknown("dataset", name, files)
    return _read(files[name])


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in _folders() for path in sorted(folder.glob("*.yaml"))}


def _folders() -> Iterator[Path]:
    yield CARDS
    extra = os.environ.get(CARDS_VARIABLE)
    if extra:
        if not Path(extra).is_dir():
            raise StrataError(f"{CARDS_VARIABLE} names {extra}, which is not a folder of dataset cards")
        yield Path(extra)


@cache
def _read(path: Path) -> DatasetCard:
    try:
        card = DatasetCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise StrataError(f"{path}: not UTF-8 at byte {error.start}; save the card as UTF-8") from None
    except yaml.YAMLError as error:
        raise StrataError(f"{path}: not valid YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the card"
        raise StrataError(f"{path}, {key}: {first['msg']}") from None
    for name in card.properties:
        check_name(name, "property")
    if card.name != path.stem:
        raise StrataError(f"{path}: the card is named {card.name!r}; name and file must agree")
    return card
