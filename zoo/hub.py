"""The zoo's shelf: cards of source models, and their weights, checked before they are used."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from core.errors import StrataError, check_name, unknown
from core.params import Section
from etl.raw import cache_folder
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.alignn.inference import Architecture, check_state

if TYPE_CHECKING:
    from torch import Tensor

ZOO = Path(__file__).parent
MODELS = ZOO / "models"
WEIGHTS = ZOO / "weights"
FETCHED_WEIGHTS, FETCHED_RECORD = "weights.safetensors", "record.json"


class Target(Section):
    """What a source model was trained to predict."""

    dataset: str
    property: str
    unit: str


class Training(Section):
    """How a source model came to be."""

    data: str
    settings: str
    attribution: str


class Published(Section):
    """Where others published a model: an archive with a checkpoint and alignn's `config.json`."""

    file: str = Field(description="name of the zip")
    url: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="of the zip, where it is known")
    member_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="of the checkpoint, where known"
    )


class SourceCard(Section):
    """One source model: `zoo/models/<name>.yaml`.

    Where others published it, hashes are known once it was fetched, and `load_card` fills them in.
    """

    name: str
    title: str
    weights: str | None = Field(None, description="file in zoo/weights/; none: see published")
    published: Published | None = None
    file_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="of the file, as it is")
    weights_sha256: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="of the tensors; see weights_hash"
    )
    architecture: Architecture = Architecture()
    graph: GraphSettings
    target: Target
    more_targets: tuple[Target, ...] = Field((), description="of further outputs")
    training: Training
    metrics: dict[str, float] = Field(default_factory=dict, description="in the target's unit")
    licence: str
    note: str = ""

    @model_validator(mode="after")
    def _weights_come_from_somewhere(self) -> Self:
        own = self.weights is not None and self.file_sha256 and self.weights_sha256
        if bool(own) == (self.published is not None and self.weights is None):
            raise ValueError("a card names either weights with file_sha256 and weights_sha256, or published")
        return self


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A card and the weights it names, both checked."""

    card: SourceCard
    state: "Mapping[str, Tensor]"


class Fetched(Section):
    """What fetching a published model found out; `record.json` beside its weights in the cache."""

    file_sha256: str
    weights_sha256: str
    architecture: Architecture


def fetched_folder(name: str) -> Path:
    """The folder in the user's cache that holds a published model, once it was fetched."""
    return cache_folder() / "models" / check_name(name, "source model")


def _record(name: str) -> Fetched | None:
    path = fetched_folder(name) / FETCHED_RECORD
    try:
        return Fetched.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise StrataError(f"{path} is damaged; fetch the model again: strata zoo fetch {name}") from None


def list_models() -> list[str]:
    """Names of the source models that have a card."""
    return sorted(path.stem for path in MODELS.glob("*.yaml"))


def load_card(name: str) -> SourceCard:
    """Read a model's card; raises `StrataError` for an unknown name or a card that breaks the schema."""
    check_name(name, "source model")
    path = MODELS / f"{name}.yaml"
    if not path.is_file():
        raise unknown("source model", name, list_models())
    try:
        card = SourceCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise StrataError(f"{path}: not valid YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the card"
        raise StrataError(f"{path}, {key}: {first['msg']}") from None
    if card.name != name:
        raise StrataError(f"{path}: the card is named {card.name!r}; file and name must agree")
    if card.published is None:
        return card
    facts = _record(name)
    return card.model_copy(update=dict(facts)) if facts else card


def weights_path(card: SourceCard) -> Path:
    """Where a model's safetensors file lies; raises `StrataError` where it has to be fetched first."""
    if card.weights is not None:
        return WEIGHTS / card.weights
    if not card.file_sha256:
        raise StrataError(
            f"source model {card.name} is not on this machine; get it with: strata zoo fetch {card.name}"
        )
    return fetched_folder(card.name) / FETCHED_WEIGHTS


@cache
def load_source(name: str) -> SourceModel:
    """Load a source model's weights, strictly.

    Raises `StrataError` if the file is missing or changed (both hashes are named), if a tensor is missing,
    unexpected or of another shape, or holds NaN.
    """
    card = load_card(name)
    return SourceModel(card, read_weights(weights_path(card), card))


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
    check_state(state, card.architecture, str(path))
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
