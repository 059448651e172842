"""What several experiments' sections of `params.yaml` have in common."""

from typing import Literal

from pydantic import Field

from core.params import Section

Targets = dict[str, tuple[str, ...]]
FEATURE_SETS = ("last",)  # where a section names none


class Training(Section):
    """How an experiment trains its networks; every other setting is as in section `finetune`."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    patience: int = Field(0, ge=0, description="epochs without a better validation MAE; 0: never stop early")
    threads: int = Field(0, ge=0, description="threads of torch; 0: as many as cores")
    workers: int = Field(-1, ge=-1, description="trainings at a time; see section `finetune`")
    label: str | None = Field(None, description="a word that stands beside the scores, such as demo")


class Comparison(Section):
    """Heads on stored vectors, and networks beside them where they are asked for."""

    targets: Targets = Field(
        default_factory=dict, description="dataset → properties; [] all of its own; {} all datasets"
    )
    splits: tuple[str, ...] = Field(("random",), min_length=1, description="see `strata splits`")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="one draw a seed")
    heads: tuple[str, ...] = Field(
        ("ridge", "lightgbm", "nn17"), description="beside Base, which always runs"
    )
    feature_sets: tuple[str, ...] = FEATURE_SETS
    trained: Targets = Field(
        default_factory=dict, description="dataset → properties that also get networks of their own"
    )
    trained_splits: tuple[str, ...] = Field((), description="those of `splits`; none named: all of them")
    trained_seeds: tuple[int, ...] = Field((), description="those of `seeds`; none named: all of them")
    methods: tuple[Literal["scratch", "finetune"], ...] = ("scratch", "finetune")
    training: Training = Training()
