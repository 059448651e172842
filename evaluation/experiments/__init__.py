"""The paper's tables, figures and statistics, each one command: `strata experiment NAME`.

An experiment is a module here that has an `EXPERIMENT` (base.py), a section of `params.yaml` under its name,
and a folder of results. Its runs lie in a store of its own, so that a killed experiment goes on where it was
and a repeated one costs seconds.
"""

import pkgutil
from importlib import import_module
from pathlib import Path

from core.engines import session
from core.errors import unknown
from core.params import Params
from evaluation.experiments.base import Experiment
from evaluation.experiments.results import Result, write
from featurestore.tables.maintenance import require_sound

RESULTS = Path("results")


def experiments() -> dict[str, Experiment]:
    """Return the experiments by name, in their order: those of the modules in this package's folders."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found = [module.EXPERIMENT for module in modules if hasattr(module, "EXPERIMENT")]
    return {e.name: e for e in sorted(found, key=lambda e: (e.order, e.name))}


def find(name: str) -> Experiment:
    """Return an experiment by name; an unknown one names the nearest."""
    known = experiments()
    if name not in known:
        raise unknown("experiment", name, known, "strata experiment")
    return known[name]


def check(params: Params, where: str = "params.yaml") -> None:
    """Check every section of `experiments`.

    Raises `StrataError` for a name that is no experiment, and as `Experiment.asked` does.
    """
    known = experiments()
    for name in params.experiments:
        if name not in known:
            raise unknown("experiment", name, known, f"{where}, experiments")
        known[name].asked(params, where)


def run(
    name: str,
    params: Params,
    store_root: str | Path = "store",
    out: str | Path = RESULTS,
    where: str = "params.yaml",
) -> Result:
    """Run one experiment and write its tables under `out`/<name>; runs that exist are not made again.

    where: the file that the params are from, as errors name it.
    """
    check(params, where)
    require_sound(store_root, ("entries", "targets", "structures", "features"))
    with session(params.fit.engine, params.finetune.engine):  # one for all fits and trainings
        result = find(name).make(params, Path(store_root), Path(out), where)
    write(result, Path(out))
    return result
