"""What `config.json` of a model bundle says, checked: names that lead nowhere, numbers that are finite."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from core.errors import StrataError, check_name
from core.params import Ingest, Section, section
from core.precision import FLOAT32, TF32, Precision
from core.text import plain, word
from core.untrusted import read_json
from featurestore.query.feature_sets import Block
from featurestore.tables.schema import Checkpoint
from heads.calibration import Seen
from heads.domain import VERDICTS
from zoo.bundle_files import CONFIG
from zoo.model import NETWORK, Card, Model, Reads

FORMAT = 1  # raised by hand when a bundle of the former version would be read otherwise
VERSIONS = ("numpy", "scikit-learn", "scipy", "torch", "tensorflow", "lightgbm", "crepes", "strata")
_PROSE = ("licence", "citation", "caution")  # of a card, which may write them in several lines
_HEX = r"^[0-9a-f]{64}$"


def _name(text: str) -> str:
    try:
        return check_name(text, "it")
    except StrataError as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, Field(max_length=4000), AfterValidator(plain)]  # prose
Word = Annotated[str, Field(max_length=200), AfterValidator(word)]  # a unit, a label, a formula
Name = Annotated[str, AfterValidator(_name)]  # what may become part of a path
Real = Annotated[float, Field(allow_inf_nan=False)]


class About(Section):
    """The fields of `zoo.model.Card`."""

    dataset: Name
    property: Name
    unit: Word
    run_id: str = Field(pattern=_HEX)
    sha256: str = Field(pattern=r"^([0-9a-f]{64})?$")
    head: Word
    label: Word
    reads: str = Field(max_length=1000, pattern=r"^[A-Za-z0-9_.+/-]*$")
    split: str = Field(max_length=100, pattern=r"^[A-Za-z0-9_.:-]*$")
    rows: int = Field(ge=0)
    classes: tuple[Word, ...] = Field((), max_length=1000)
    method: Name
    test_mae: Real | None = None
    test_mae_sd: Real | None = None
    base_test_mae: Real | None = None
    balanced_accuracy: Real | None = None
    repetitions: int = Field(1, ge=1)
    licence: Text
    citation: Text
    doi: Word
    caution: Text


class Place(Section):
    """A checkpoint of a source model."""

    name: Name
    kind: Name
    depth: int = Field(ge=0, le=10_000)
    width: int = Field(ge=1, le=1_000_000)


class Source(Section):
    """A source model, as the model reads it; `inside`: the bundle brings it along.

    weights_sha256: of its tensors, none where it has none. columns: of a user's own table.
    """

    name: Name
    extraction_id: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    weights_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    checkpoints: tuple[Place, ...] = Field(min_length=1, max_length=10_000)
    columns: tuple[Name, ...] = ()
    sees_positions: bool
    inside: bool = False


class Part(Section):
    """A checkpoint that a member reads."""

    source: Name
    checkpoint: Name


class MemberFacts(Section):
    """A head in the folder `heads/<head>`, its weight, and what it reads, side by side."""

    head: int = Field(ge=0, le=99)
    cls: str = Field(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", description="import path")
    name: Word
    weight: Annotated[Real, Field(gt=0)]
    blocks: tuple[Part, ...] = Field(min_length=1, max_length=10_000)


class SeenFacts(Section):
    """See `heads.calibration.Seen`."""

    rows: int = Field(ge=0)
    mae: Real | None


class Config(Section):
    """The whole of `config.json`."""

    format: int
    card: About
    sources: tuple[Source, ...] = Field(min_length=1, max_length=100)
    members: tuple[MemberFacts, ...] = Field((), max_length=100)
    transform: Literal["log"] | None = None
    with_data: bool
    level: Annotated[Real, Field(gt=0, lt=1)]
    seen: dict[str, SeenFacts]
    precision: Precision
    vacuum: Annotated[Real, Field(gt=0)]
    min_distance: Annotated[Real, Field(ge=0)]
    volume_per_atom: tuple[Real, Real]
    environment: dict[Name, Word] = Field(max_length=100)

    @model_validator(mode="before")
    @classmethod
    def _older(cls, raw: Any) -> Any:
        """Read what bundles said of the numeric mode when there were two."""
        if isinstance(raw, dict) and "precision" not in raw and isinstance(raw.get("tf32"), bool):
            rest = {key: value for key, value in raw.items() if key != "tf32"}
            return rest | {"precision": TF32 if raw["tf32"] else FLOAT32}
        return raw

    @property
    def limits(self) -> Ingest:
        """What is refused, and the vacuum around molecules: as where the model learned."""
        return Ingest(
            vacuum=self.vacuum, min_distance=self.min_distance, volume_per_atom=self.volume_per_atom
        )

    def model_card(self) -> Card:
        """Return the card as a model has it."""
        return Card(**self.card.model_dump())

    def seen_errors(self) -> dict[str, Seen]:
        """Return the errors that were seen, by verdict."""
        return {verdict: Seen(one.rows, one.mae) for verdict, one in self.seen.items()}

    def reads(self, folder: Path | None) -> dict[str, Reads]:
        """Describe the source models; folder: that of those which the bundle brings along."""
        return {
            one.name: Reads(
                one.name,
                one.extraction_id,
                tuple(Checkpoint(c.name, c.kind, c.depth, c.width) for c in one.checkpoints),
                one.columns,
                one.sees_positions,
                folder if one.inside else None,
            )
            for one in self.sources
        }


def described(model: Model, hashes: Mapping[str, str], paths: list[str], with_data: bool) -> Config:
    """Say of a model what its bundle's `config.json` says.

    hashes: of the weights of source models, by name. paths: import paths of its members' classes.
    """
    intervals, limits = model.calibration.intervals, model.limits
    prose = {name: " ".join(str(getattr(model.card, name)).split()) for name in _PROSE}
    return Config(
        format=FORMAT,
        card=section(About, asdict(model.card) | prose, f"the card of {model.card.name}"),
        sources=tuple(
            Source(
                name=name,
                extraction_id=one.extraction_id,
                weights_sha256=hashes.get(name, ""),
                checkpoints=tuple(Place(**c._asdict()) for c in one.checkpoints),
                columns=one.columns,
                sees_positions=one.sees_positions,
                inside=name in hashes and one.folder is not None,
            )
            for name, one in model.sources.items()
        ),
        members=tuple(
            MemberFacts(
                head=i,
                cls=path,
                name=member.name,
                weight=member.weight,
                blocks=tuple(Part(source=b.source, checkpoint=b.checkpoint) for b in member.blocks),
            )
            for i, (member, path) in enumerate(zip(model.members, paths, strict=True))
        ),
        transform="log" if intervals is not None and intervals.log else None,
        with_data=with_data,
        level=0.9,
        seen={k: SeenFacts(rows=v.rows, mae=v.mae) for k, v in model.calibration.seen.items()},
        precision=model.settings.precision,
        vacuum=limits.vacuum,
        min_distance=limits.min_distance,
        volume_per_atom=limits.volume_per_atom,
        environment=environment(),
    )


def environment() -> dict[str, str]:
    """Return what may move the last digits of a prediction: versions, and the kind of machine."""
    found = {"python": platform.python_version(), "machine": platform.machine() or "unknown"}
    for name in VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | {"numpy": np.__version__}


def read_config(folder: Path) -> Config:
    """Read and check `config.json`; raises `StrataError` naming the key and what is wrong with it."""
    path = folder / CONFIG
    raw = read_json(path)
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
        raise StrataError(
            f"{path}: a bundle of format {raw['format']}; this version of strata reads format {FORMAT}. "
            "Install a newer one"
        )
    config = section(Config, raw, str(path))
    if config.format != FORMAT:
        raise StrataError(f"{path}: there is no bundle of format {config.format}")
    _check_whole(config, path)
    return config


def _check_whole(config: Config, path: Path) -> None:
    """Check what one part of a config says of another."""
    sources = {one.name: one for one in config.sources}
    if len(sources) < len(config.sources):
        raise StrataError(f"{path}: a source model stands twice in it")
    if strange := sorted(config.seen.keys() - set(VERDICTS)):
        raise StrataError(f"{path}, seen: {strange[0][:60]!r} is none of {', '.join(VERDICTS)}")
    if (NETWORK in sources) == bool(config.members) or (NETWORK in sources and len(sources) > 1):
        raise StrataError(f"{path}: a model has either heads or a network of its own")
    if config.card.classes and len(config.members) > 1:
        raise StrataError(f"{path}: a model of classes has one head, this one names {len(config.members)}")
    for i, member in enumerate(config.members):
        if member.head != i:
            raise StrataError(
                f"{path}, members.{i}.head: {member.head} is not its place; the heads of a bundle are 0 to "
                f"{len(config.members) - 1}, in their order"
            )
        for part in member.blocks:
            of = sources.get(part.source)
            if of is None or part.checkpoint not in {place.name for place in of.checkpoints}:
                raise StrataError(
                    f"{path}, members.{i}: it reads {part.source}/{part.checkpoint}, which no source has"
                )


def blocks_of(member: MemberFacts, sources: Mapping[str, Reads]) -> tuple[Block, ...]:
    """Return the blocks that a member reads, with the columns where each lies."""
    found: list[Block] = []
    at = 0
    for part in member.blocks:
        place: Any = next(c for c in sources[part.source].checkpoints if c.name == part.checkpoint)
        found.append(Block(part.source, place.name, place.kind, place.depth, at, at + place.width))
        at += place.width
    return tuple(found)
