"""Dataset cards: `etl/datasets/<name>.yaml`, one file per dataset, checked by this schema.

Cards lie in two places: in the package, and in `etl/datasets` under the current folder, where that is
another one, or in the folder that STRATA_DATASETS names. A name stands for one card:
two that differ are an error.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from core.errors import StrataError, check_name, unknown
from core.params import Section, in_words
from core.source import Source
from core.yaml_file import read_yaml
from etl import formulas

CARDS = Path(__file__).parent / "datasets"
CLASS_UNIT = "class"  # of a property whose values are labels
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
    formula: str | None = Field(
        default=None, description="how the number is made of what the column holds; see etl/formulas.py"
    )
    definition: str | None = Field(default=None, description="how the provider makes the value, in words")
    inferred: bool = Field(default=False, description="the paper leaves open what this card chooses here")
    transform: Literal["log"] | None = Field(
        default=None, description="log: positive, and learned as its logarithm"
    )
    classes: tuple[str, ...] = Field(
        default=(), description="with unit class: the labels, in the order of their codes 0, 1, …"
    )
    optional: bool = Field(default=False, description="some versions of the file lack the column")
    beyond_paper: bool = Field(default=False, description="not one of the paper's 115 targets")

    @property
    def scale(self) -> str | list[str] | None:
        """What the store keeps of its scale: log, the labels of its classes, or nothing."""
        return list(self.classes) or self.transform

    @model_validator(mode="after")
    def _classes_have_labels(self) -> Self:
        if (self.unit == CLASS_UNIT) != bool(self.classes):
            raise ValueError(f"classes are listed where the unit is {CLASS_UNIT}, and nowhere else")
        if self.classes and (len(set(self.classes)) < len(self.classes) or len(self.classes) < 2):
            raise ValueError("classes are two or more different labels")
        if self.classes and (self.formula or self.transform):
            raise ValueError("a class has neither formula nor transform")
        return self

    @model_validator(mode="after")
    def _the_formula_can_be_read(self) -> Self:
        if self.formula is not None:
            try:
                formulas.parse(self.formula)
            except StrataError as error:
                raise ValueError(str(error)) from None
        return self


class Version(Source):
    """One of several published states of a dataset."""

    expected_rows: int | None = Field(default=None, ge=1)


class Library(Source):
    """A further file, from which a table that has none takes its structures by id."""

    id_column: str
    column: str = Field(description="where the library's structure stands, in the card's structure format")


class StructureColumn(Section):
    """Where a record's structure stands and how it is written; with a library, where its id stands."""

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
    version: str | None = Field(default=None, description="the one of `versions` that is read by default")
    versions: dict[str, Version] = Field(default_factory=dict, description="published states of the dataset")
    path: str | None = Field(default=None, description="a user's own file or folder, in place of a source")
    id_column: str | None = None
    structure: StructureColumn | None = None
    composition_column: str | None = Field(
        default=None, description="with a formula, which stands in where a record has no structure"
    )
    split_column: str | None = Field(
        default=None,
        description="train, val or test of each record, or the number of its fold",
    )
    library: tuple[Library, ...] = Field(
        default=(), description="the first that has an id gives its structure"
    )
    material_class: Literal["3D", "2D", "molecule"]
    expected_rows: int | None = Field(default=None, ge=1, description="records of the published dataset")
    null_tokens: tuple[str, ...] = Field(default=(), description="words that stand for a missing value")
    text_numbers: bool = Field(default=False, description="numbers written as text are read as numbers")
    properties: dict[str, Property] = Field(min_length=1)
    licence: str = Field(min_length=1)
    doi: str | None = None
    citation: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _the_version_gives_the_source(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("versions"):
            return data
        versions, name = data["versions"], data.get("version")
        if name not in versions:
            raise ValueError(f"version {name!r} is none of versions: {', '.join(versions)}")
        chosen = dict(versions[name])
        rows = chosen.pop("expected_rows", None)
        return data | {"source": chosen, "expected_rows": rows}

    @model_validator(mode="after")
    def _a_file_has_columns(self) -> Self:
        if self.source and not (self.id_column and (self.structure or self.composition_column)):
            raise ValueError("a card with a source also needs id_column, and structure or composition_column")
        read = [(item.column, item.formula) for item in self.properties.values()]
        twice = sorted({column for column, formula in read if read.count((column, formula)) > 1})
        if twice:
            raise ValueError(f"two properties read the column {', '.join(twice)}")
        return self

    def of_version(self, version: str | None) -> "DatasetCard":
        """Return the card for another of its versions; None: as it is. An unknown one raises."""
        if version is None or version == self.version:
            return self
        if version not in self.versions:
            raise unknown("version", version, self.versions, f"the card of {self.name}")
        facts = self.model_dump(exclude={"source", "expected_rows"})
        return DatasetCard.model_validate(facts | {"version": version})


def list_cards() -> list[DatasetCard]:
    """Every card, in the order of their names."""
    return [load_card(name) for name in sorted(_files())]


def load_card(name: str, version: str | None = None) -> DatasetCard:
    """Return the card of a dataset, by default for the version that it names.

    Raises `StrataError` naming the nearest dataset for an unknown name (or version), and naming file,
    key and value for a card that breaks the schema.

    >>> load_card("ase_elements").properties["volume"].unit
    'Å³/atom'
    """
    check_name(name, "dataset")
    files = _files()
    if name not in files:
        raise unknown("dataset", name, files)
    return _read(files[name], files[name].stat().st_mtime_ns).of_version(version)


def own_folder() -> Path:
    """Where a user's own cards are written: STRATA_DATASETS, or `etl/datasets` under the current folder."""
    return Path(os.environ.get(CARDS_VARIABLE) or Path("etl") / "datasets")


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in files and path.read_bytes() != files[path.stem].read_bytes():
                raise StrataError(
                    f"two cards are named {path.stem}: {files[path.stem]} and {path}; rename one"
                )
            files[path.stem] = path
    return files


def _folders() -> Iterator[Path]:
    yield CARDS
    own = own_folder()
    if not own.is_dir():
        if os.environ.get(CARDS_VARIABLE):
            raise StrataError(f"{CARDS_VARIABLE} names {own}, which is not a folder of dataset cards")
    elif not own.samefile(CARDS):
        yield own


@cache
def _read(path: Path, _modified: int) -> DatasetCard:
    try:
        card = DatasetCard.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the card"
        raise StrataError(f"{path}, {key}: {in_words(first['msg'])}") from None
    for name in card.properties:
        check_name(name, "property")
    if card.name != path.stem:
        raise StrataError(f"{path}: the card is named {card.name!r}; name and file must agree")
    return card
