"""From a backbone's name on a card to its code.

A backbone is a module or package of `zoo/backbones/`, or of the folder that STRATA_BACKBONES names, which
holds its class as `BACKBONE`. Putting it there is all: a card names a backbone, but never decides where code
comes from.
"""

import os
import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import zoo.backbones
from core.errors import StrataError, check_name, unknown
from zoo.backbones.base import Backbone, Runner

OWN_VARIABLE = "STRATA_BACKBONES"  # a folder with backbones of one's own
_NAMED = re.compile(r"^BACKBONE\b", re.MULTILINE)


def names() -> list[str]:
    """Return the names of the backbones that are there; nothing of them is imported for it."""
    own = os.environ.get(OWN_VARIABLE)
    if own and own not in zoo.backbones.__path__:
        zoo.backbones.__path__.append(own)
    found = []
    for module in iter_modules(zoo.backbones.__path__):
        spec = find_spec(f"{zoo.backbones.__name__}.{module.name}")
        if spec is not None and spec.origin and _NAMED.search(Path(spec.origin).read_text(encoding="utf-8")):
            found.append(module.name)
    return sorted(found)


def find(name: str) -> type[Backbone]:
    """Return the class of a backbone; an unknown name raises `StrataError` naming the nearest."""
    check_name(name, "backbone")
    if name not in names():
        raise unknown("backbone", name, names())
    found = import_module(f"{zoo.backbones.__name__}.{name}").BACKBONE
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise StrataError(f"backbone {name}: BACKBONE is not a class made from zoo.backbones.base.Backbone")
    return found


@cache
def runner_of(cls: type[Backbone]) -> type[Runner]:
    """Import the heavy half of a backbone; says which extra is missing where its libraries are."""
    cls.import_stack()
    module, _, name = cls.runner.partition(":")
    found: type[Runner] = getattr(import_module(module), name)
    if not issubclass(found, Runner):
        raise StrataError(f"{cls.runner} is not a class made from zoo.backbones.base.Runner")
    return found
