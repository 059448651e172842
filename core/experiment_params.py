"""The section `experiments` of `params.yaml`: what each experiment runs on (docs/experiments.md)."""

from typing import Literal

from pydantic import Field

from core.section import Section

Targets = dict[str, tuple[str, ...]]


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
    feature_sets: tuple[str, ...] = ("atom_bond_angle_last",)
    trained: Targets = Field(
        default_factory=dict, description="dataset → properties that also get networks of their own"
    )
    trained_splits: tuple[str, ...] = Field((), description="those of `splits`; none named: all of them")
    trained_seeds: tuple[int, ...] = Field((), description="those of `seeds`; none named: all of them")
    methods: tuple[Literal["scratch", "finetune"], ...] = ("scratch", "finetune")
    training: Training = Training()


class SourceModels(Comparison):
    """The same heads on the vectors of several source models."""

    source_models: tuple[str, ...] = Field((), description="cards in zoo/models/; none: extract.source_model")


class FromTransfer(Section):
    """What is read off the results of the experiment `transfer`."""

    alpha: float = Field(0.05, gt=0, lt=1, description="level of the critical difference")


class SizeEffect(Section):
    """How the gain of transfer hangs on the number of rows."""

    bins: int = Field(12, ge=2, description="of the histogram")


class Experiments(Section):
    """The experiments, a section each; `strata experiment NAME` runs one."""

    checkpoints: Comparison = Comparison(heads=("ridge",))
    transfer: Comparison = Comparison()
    learning_curve: Comparison = Comparison(splits=("ladder",))
    extrapolation: Comparison = Comparison(splits=("extrapolation", "random"))
    cross_validation: Comparison = Comparison(splits=("kfold",), seeds=(0,))
    significance: FromTransfer = FromTransfer()
    multi_property: Comparison = Comparison(heads=())
    size_effect: SizeEffect = SizeEffect()
    source_models: SourceModels = SourceModels()
