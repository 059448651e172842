"""`params.yaml` as frozen, typed settings; an unknown key names the nearest valid one."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from core.errors import StrataError, check_name, unknown
from core.precision import FLOAT32, TF32, Precision
from core.yaml_file import read_yaml

PARAMS_FILE = Path("params.yaml")
Engine = Literal["local", "ray"]  # see core.engines


class Section(BaseModel):
    """A part of `params.yaml` or of a card: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_ALSO_CALLED = {"gpu": "cuda", "nvidia": "cuda"}  # as other programs call them


def known_device(name: str) -> str:
    """Return the name of a device where it is one; raises `ValueError` with the nearest.

    >>> known_device("gpu")
    Traceback (most recent call last):
    ValueError: unknown device 'gpu'; did you mean 'cuda'? (known: auto, cpu, cuda, cuda:N)
    """
    if _DEVICE.fullmatch(name):
        return name
    kind = name.lower().partition(":")[0]
    near = get_close_matches(_ALSO_CALLED.get(kind, kind), ("cuda", "cpu", "auto"), n=1, cutoff=0)
    raise ValueError(f"unknown device {name!r}; did you mean {near[0]!r}? (known: auto, cpu, cuda, cuda:N)")


Device = Annotated[str, AfterValidator(known_device)]
SectionT = TypeVar("SectionT", bound=Section)


class Ingest(Section):
    """How provider records become entries, targets and structures."""

    chunk: int = Field(4096, ge=1, description="entries a shard")
    vacuum: float = Field(20.0, gt=0, description="Å of vacuum on every side of a molecule")
    min_distance: float = Field(0.3, ge=0, description="Å; closer atoms overlap and reject the structure")
    volume_per_atom: tuple[float, float] = Field((0.5, 5e6), description="Å³ an atom, smallest and largest")
    versions: dict[str, str] = Field(
        default_factory=dict, description="dataset → version, of a card that has several; else its own choice"
    )


class Extract(Section):
    """How structures become vectors. Only `source_models` and `precision` key the vectors."""

    source_models: tuple[str, ...] = Field(
        ("alignn_mp_eform",), min_length=1, description="cards of source models; the first is the default"
    )
    precision: Precision = Field(FLOAT32, description="of matrix products; keys the vectors")
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="threads of the model in this process; 0: as many as cores")
    engine: Engine = Field("local", description="processes of this machine, or a Ray cluster")
    workers: int = Field(-1, ge=-1, description="processes; -1: one per core where worth it, 0: none")
    chunk: int = Field(2048, ge=1, description="structures per shard")
    backbones: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="settings of each backbone, which checks them itself"
    )

    @property
    def default(self) -> str:
        """The source model that is meant where none is named."""
        return self.source_models[0]


class Columns(Section):
    """A table of a user's own columns, that joins feature sets under its name in the section `columns`."""

    table: str = Field(description="path of a .csv with a header or a .parquet")
    dataset: str = Field(description="whose entries or structures the rows are of")
    by: Literal["entry", "structure"] = Field("entry", description="what the ids are: entry_id, structure_id")
    id_column: str | None = Field(None, description="where the ids stand; none: the first column")
    columns: tuple[str, ...] = Field((), description="which ones; none named: all but the ids")


class Split(Section):
    """Which train, validation and test parts are drawn."""

    schemes: tuple[str, ...] = Field(("random",), description="see `strata splits`")
    seeds: tuple[int, ...] = Field((0,), description="one draw a seed")


class Fit(Section):
    """Which heads are fitted on which feature sets of which properties."""

    heads: tuple[str, ...] = Field(("mean", "ridge", "lightgbm", "nn17"), description="names under `heads`")
    feature_sets: tuple[str, ...] = Field(("last",), description="see `strata features`")
    composition: str | None = Field(
        "magpie/all", description="SOURCE/SET that the baseline by composition, a forest, reads; null: none"
    )
    properties: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="dataset → properties; a dataset not named here: all of its own"
    )
    # The defaults are the paper's protocol: its tables, and a params file from before, mean it.
    choose_by: Literal["auto", "cv", "validation"] = Field(
        "validation",
        description="what runs are compared by; cv: folds of train + validation; auto: cv for few rows",
    )
    refit: bool = Field(False, description="fit shallow heads on train + validation once they were compared")
    folds: int = Field(5, ge=2, description="folds of a cross-validation")
    repeats: int = Field(2, ge=1, description="cross-validations, each with folds of its own")
    engine: Engine = Field("local", description="processes of this machine, or a Ray cluster")
    workers: int = Field(
        -1,
        ge=-1,
        description="fits at a time; -1: one per core where there is enough to do, 0: in this process",
    )
    committee: Literal["mean", "greedy", "stack"] | None = Field(
        None, description="how runs are averaged into one more, by their out-of-fold predictions; none: not"
    )


class Train(Section):
    """How an ALIGNN is trained; by default as in the paper, on whatever the machine has."""

    epochs: int = Field(300, ge=1)
    batch_size: int = Field(64, ge=1, description="structures a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the one-cycle schedule")
    warmup: float = Field(0.3, gt=0, lt=1, description="share of the training at which the peak is reached")
    weight_decay: float = Field(1e-5, ge=0, description="of AdamW; biases and normalisations have none")
    moving_average: float = Field(
        0.0, ge=0, lt=1, description="of weights, whose network is the one that is kept; 0: the last step's"
    )
    patience: int = Field(0, ge=0, description="epochs without a better validation MAE; 0: never stop early")
    seed: int = Field(0, ge=0, description="of initial weights and of the order of structures")
    angles_per_step: int = Field(
        100_000, ge=1, description="(compressed) angles; a batch with more is cut into several steps"
    )
    tf32: bool = Field(False, description="TensorFloat-32 products on a GPU")
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="threads of torch; 0: as many as cores")
    checkpoint_seconds: float = Field(5.0, ge=0, description="at least so long between checkpoints of epochs")


class Finetune(Train):
    """Which properties get an ALIGNN of their own, from scratch and from the source model's weights."""

    properties: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="dataset → properties; a dataset not named here: none"
    )
    methods: tuple[Literal["scratch", "finetune"], ...] = ("scratch", "finetune")
    source_models: tuple[str, ...] = Field(
        (), description="ALIGNNs whose weights fine-tuning starts from; none: the default source model"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of a layer over that of the next one, in fine-tuning"
    )
    freeze: Literal["none", "embeddings", "all_but_last", "head"] = Field(
        "none", description="what fine-tuning leaves as the source model has it; head: all but the head"
    )
    label: str | None = Field(None, description="a word that stands beside the scores, such as demo")
    engine: Engine = Field("local", description="processes of this machine, or a Ray cluster")
    workers: int = Field(
        -1,
        ge=-1,
        description="trainings at a time; -1: as many as cores hold at `threads` each, 0: in this process",
    )


class Source(Train):
    """How the source model is trained; no stage of the pipeline, `strata train-source` reads it."""

    dataset: str = "megnet"
    properties: tuple[str, ...] = Field(("formation_energy",), min_length=1)
    split: str = Field("published:0", description="scheme:seed")
    init: str = Field("scratch", description="scratch, or a source model's name")
    graph: Literal["invariant", "published", "source"] = Field(
        "invariant", description="rules of docs/training.md; source: those of the model in init"
    )
    max_cost: int | None = Field(
        None, ge=1, description="structures of more compressed angles are left out; none: all are used"
    )
    curriculum: tuple[tuple[int, int], ...] = Field(
        (), description="(epoch, compressed angles): before that epoch no structure of more"
    )


class Evaluate(Section):
    """What is read off the test part, for the chosen run and for Base only."""

    bootstrap: int = Field(
        1000, ge=0, le=1_000_000, description="resamples for the interval of a test MAE; 0: none"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the resamples")
    level: float = Field(0.9, gt=0, lt=1, description="of intervals: the share of values that they hold")


class Params(Section):
    """The whole of `params.yaml`; one section per stage, `heads` with one per head, and `source`."""

    datasets: tuple[str, ...] = ("ase_elements", "ase_g2", "emt_alloys")
    ingest: Ingest = Ingest()
    extract: Extract = Extract()
    columns: dict[str, Columns] = Field(default_factory=dict, description="name → a table of one's own")
    split: Split = Split()
    fit: Fit = Fit()
    heads: dict[str, dict[str, Any]] = Field(default_factory=dict, description="settings of each head")
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    source: Source = Source()
    experiments: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="settings of each experiment, which checks its own"
    )


def load(path: str | Path = PARAMS_FILE) -> Params:
    """Read and check a params file.

    Raises `StrataError` naming the file, the key and the nearest valid key or the bad value.
    """
    path = Path(path)
    try:
        raw = read_yaml(path) or {}
    except FileNotFoundError:
        raise StrataError(f"{path.resolve()} is missing; run from the project's folder") from None
    return parse(raw, str(path))


def load_if_there(path: str | Path = PARAMS_FILE) -> Params:
    """Read a params file as `load` does; where no params.yaml lies in the folder, everything has its default.

    A file of another name has to be there.
    """
    return Params() if Path(path) == PARAMS_FILE and not Path(path).exists() else load(path)


def section(cls: type[SectionT], raw: Any, where: str) -> SectionT:
    """Check one section that a room of its own keeps, such as an experiment's or a backbone's.

    Raises `StrataError` naming the key and the nearest valid one, or the bad value.
    """
    if not isinstance(raw, Mapping):
        raise StrataError(f"{where}: expected a mapping of settings, got {type(raw).__name__}")
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        raise _readable(error, where, cls) from None


def parse(raw: Any, where: str = "params.yaml") -> Params:
    """Check a plain dictionary of settings (see `load`).

    >>> parse({"split": {"seds": [1]}})
    Traceback (most recent call last):
    core.errors.StrataError: unknown key 'seds' in params.yaml, split; did you mean 'seeds'?...
    """
    if not isinstance(raw, dict):
        raise StrataError(f"{where}: expected a mapping of sections, got {type(raw).__name__}")
    _refuse_tf32(raw.get("extract"), where)
    params = section(Params, raw, where)
    for name in params.datasets:
        check_name(name, "dataset")
    twice = sorted({d for d in params.datasets if params.datasets.count(d) > 1})
    if twice:
        raise StrataError(f"{where}: datasets names {', '.join(twice)} more than once")
    return params


def _refuse_tf32(extract: Any, where: str) -> None:
    """Raise `StrataError` for the setting of older files, naming what stands in its place."""
    if isinstance(extract, Mapping) and "tf32" in extract:
        mode = TF32 if extract["tf32"] is True else FLOAT32
        raise StrataError(
            f"{where}, extract: tf32 is now one of three modes of extract.precision; write "
            f"`precision: {mode}` in its place (no vector is made anew)"
        )


def _readable(error: ValidationError, where: str, model: type[Section]) -> StrataError:
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        for key in path[:-1]:
            model = model.model_fields[key].annotation  # type: ignore[assignment]
        return unknown("key", path[-1], model.model_fields, ", ".join([where, *path[:-1]]))
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return unknown("value", first["input"], choices, ", ".join([where, ".".join(path)]))
    return StrataError(f"{where}, {'.'.join(path)}: {in_words(first['msg'])}, got {first['input']!r}")


def in_words(message: str) -> str:
    """Say what pydantic says in the words of YAML: its tuples are lists there, its dictionaries mappings.

    >>> in_words("Input should be a valid tuple"), in_words("Tuple should have at least 1 item")
    ('Input should be a list', 'List should have at least 1 item')
    """
    for theirs, ours in (("valid tuple", "list"), ("valid list", "list"), ("valid dictionary", "mapping")):
        message = message.replace(theirs, ours)
    return message.replace("Tuple", "List").replace("tuple", "list").replace("Value error, ", "")
