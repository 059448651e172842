"""From vectors to values: the contract of a head and the built-in heads; `heads.fit` fits them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heads.base import Head, InvalidData, NotApplicable, check_head
    from heads.lightgbm import LightGBM
    from heads.mean import Mean
    from heads.mlp import MLP
    from heads.nn17 import NN17
    from heads.registry import HeadSpec, built_in, load_head, resolve
    from heads.ridge import Ridge
    from heads.svr import SVR

__all__ = [
    "MLP",
    "NN17",
    "SVR",
    "Head",
    "HeadSpec",
    "InvalidData",
    "LightGBM",
    "Mean",
    "NotApplicable",
    "Ridge",
    "built_in",
    "check_head",
    "load_head",
    "resolve",
]

_MODULES = {
    "base": ("Head", "InvalidData", "NotApplicable", "check_head"),
    "lightgbm": ("LightGBM",),
    "mean": ("Mean",),
    "mlp": ("MLP",),
    "nn17": ("NN17",),
    "registry": ("HeadSpec", "built_in", "load_head", "resolve"),
    "ridge": ("Ridge",),
    "svr": ("SVR",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `strata --help` needs no scikit-learn."""
    if name in _HOME:
        return getattr(import_module(f"heads.{_HOME[name]}"), name)
    raise AttributeError(f"module 'heads' has no attribute {name!r}")
