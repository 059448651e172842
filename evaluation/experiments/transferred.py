"""The results of `transfer` as other experiments read them."""

from pathlib import Path

from core.params import Params
from evaluation.experiments.results import Result, write
from evaluation.experiments.transfer import run


def transferred(params: Params, store_root: Path, out: Path) -> Result:
    """Bring the results of `transfer` up to date with the params and the store, and return them.

    Runs that exist are not made again, so that this costs seconds where `transfer` ran before.
    """
    result = run(params, store_root, out)
    write(result, out)
    return result
