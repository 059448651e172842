"""The paper's tables, figures and statistics, each one command: `strata experiment NAME`.

An experiment is a section of `params.yaml`, a module here with a `run`, and a folder of results. Its runs lie
in a store of its own, so that a killed experiment goes on where it was and a repeated one costs seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from core.errors import unknown
from core.params import Params
from evaluation.experiments.results import Result, write

RESULTS = Path("results")


@dataclass(frozen=True, slots=True)
class Experiment:
    """What an experiment is called, what it asks, and what of the paper it is."""

    name: str
    title: str
    question: str
    paper: str

    @property
    def run(self) -> Callable[[Params, Path, Path], Result]:
        """Return the function (params, store, results) that does it."""
        found: Callable[[Params, Path, Path], Result] = import_module(
            f"evaluation.experiments.{self.name}"
        ).run
        return found


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "checkpoints", "Checkpoints", "Which of the 38 feature sets serves a head best?", "table 1"
        ),
        Experiment(
            "transfer",
            "Transfer",
            "How much does transfer learning gain over training from scratch, and over Base?",
            "tables 2 to 6",
        ),
        Experiment("learning_curve", "Learning curve", "How many rows does each method need?", "figure 3"),
        Experiment(
            "extrapolation",
            "Extrapolation",
            "What becomes of the errors where values lie below all that were learned from?",
            "figure 4",
        ),
        Experiment(
            "cross_validation",
            "Cross-validation",
            "Does the difference outlast another choice of parts?",
            "supplementary table 10",
        ),
        Experiment(
            "significance",
            "Significance",
            "Could as many gains over all targets have come by chance?",
            "Discussion",
        ),
        Experiment(
            "multi_property",
            "Several properties at once",
            "Does one network for several properties beat one network each?",
            "supplementary table 11",
        ),
        Experiment(
            "size_effect",
            "Size of the dataset",
            "Is the gain larger where there are fewer rows?",
            "supplementary figures 2 and 3",
        ),
        Experiment("source_models", "Source models", "Whose vectors serve best?", "beyond the paper"),
    )
}


def find(name: str) -> Experiment:
    """Return an experiment by name; an unknown one names the nearest."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS, "strata experiment")
    return EXPERIMENTS[name]


def run(name: str, params: Params, store_root: str | Path = "store", out: str | Path = RESULTS) -> Result:
    """Run one experiment and write its tables under `out`/<name>; runs that exist are not made again."""
    result = find(name).run(params, Path(store_root), Path(out))
    write(result, Path(out))
    return result
