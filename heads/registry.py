"""From the names in `params.yaml` to heads: built-in ones, and a user's own by import path.

A built-in head is a module of `heads/` that names its class as `HEAD`; the module's name is the head's.
"""

import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from sklearn.base import is_classifier

import heads
from core.errors import StrataError, check_name, unknown
from core.params import Params
from heads import classifier, sklearn_head
from heads.base import Head, class_path, read_facts
from heads.on_log import Predictor, as_saved
from heads.settings import check_kinds

# Keys of a head's section that are no settings of its class.
CLASS, PRESET, PRESETS = "class", "preset", "presets"
# Of this project, and the class of no section by itself: what stands for others where there are classes
# (heads/tasks.py), and for estimators of scikit-learn. Not imported here: `strata heads` starts fast.
_OURS = (
    class_path(sklearn_head.SklearnHead),
    class_path(classifier.SklearnClassifier),
    class_path(classifier.Frequencies),
    "heads.lightgbm_classes.LightGBMClassifier",
)
Sections = Mapping[str, Mapping[str, Any]]
_NAMED = re.compile(r"^HEAD = (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """A head as the params ask for it: its class and every setting, defaults included."""

    name: str
    cls: type[Head]
    settings: Mapping[str, Any]
    label: str = ""  # the preset's own word

    def make(self) -> Head:
        """Return an unfitted head."""
        return self.cls(**self.settings)

    @property
    def built_in(self) -> bool:
        """Tell whether the class is one of this project's."""
        return class_path(self.cls) in of_this_project()


def built_in() -> dict[str, str]:
    """Return the import path of every built-in head's class by name; nothing is imported for it."""
    found = {}
    for module in iter_modules(heads.__path__):
        spec = PathFinder.find_spec(module.name, heads.__path__)
        if spec is not None and spec.origin is not None:
            named = _NAMED.search(Path(spec.origin).read_text(encoding="utf-8"))
            if named is not None:
                found[module.name] = f"{heads.__name__}.{module.name}.{named[1]}"
    return found


def of_this_project() -> set[str]:
    """Return the import paths of all head classes that are this project's."""
    return {*_OURS, *built_in().values()}


def resolve(name: str, sections: Sections | None = None, where: str = "params.yaml") -> HeadSpec:
    """Find the head that `name` asks for, with the settings of its section.

    `name` is a built-in head, the import path of a user's class, or a section that names either under
    `class`. Raises `StrataError` for unknown names and settings (the nearest is named) and for a class
    that cannot be imported or is no `Head`.

    >>> resolve("ridge", {"ridge": {"alphas": [1.0]}}).make()
    Ridge(alphas=[1.0])
    """
    sections = sections or {}
    check_name(name, "head")
    section = dict(sections.get(name) or {})
    target = section.pop(CLASS, name)
    if str(target).startswith(sklearn_head.PREFIX):
        return _of_sklearn(name, str(target), section, f"{where}, heads.{name}")
    ours = built_in()
    if target not in ours and "." not in str(target):
        raise unknown("head", target, {*ours, *sections} - {target}, f"{where}, heads")
    cls = _import(ours.get(target, target), f"{where}, heads.{name}")
    given, label = _settings(name, section, f"{where}, heads.{name}")
    defaults = cls().get_params(deep=False)
    for key in given:
        if key not in defaults:
            raise unknown("setting", key, defaults, f"{where}, heads.{name}")
    if (
        f"{cls.__module__}.{cls.__qualname__}" in of_this_project()
    ):  # a user's class says itself what it takes
        check_kinds(given, defaults, f"{where}, heads.{name}")
    settings = defaults | given
    try:
        json.dumps(settings)
    except TypeError as error:
        raise StrataError(f"{where}, heads.{name}: settings must be JSON values ({error})") from None
    return HeadSpec(name, cls, settings, label)


def check_sections(sections: Sections, where: str = "params.yaml") -> None:
    """Refuse a section of `heads` that no head could read; a user's class is not imported for it."""
    ours = built_in()
    for name, section in sections.items():
        target = section.get(CLASS, name)
        if target in ours or str(target).startswith(sklearn_head.PREFIX):
            resolve(name, sections, where)
        elif "." not in str(target):
            raise unknown("head", target, ours, f"{where}, heads")


def load_head(folder: str | Path, params: Params | None = None) -> Predictor:
    """Read a saved head, whichever its class is; one that learned logarithms predicts in the unit.

    Only built-in classes are imported, and those that the params name: a file does not decide which
    code runs.
    """
    path = read_facts(Path(folder))["class"]
    asked = params or Params()
    named = {*asked.fit.heads, *(str(section.get(CLASS, name)) for name, section in asked.heads.items())}
    if path not in of_this_project() | named:
        raise StrataError(
            f"{folder} was saved by the class {path}; if you trust it, name it under heads in params.yaml"
        )
    return as_saved(_import(path, str(folder)).load(folder), folder)


def _import(path: str, where: str) -> type[Head]:
    module, _, name = path.rpartition(".")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # the command, unlike python -m, does not look into the current folder
    try:
        cls = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise StrataError(
            f"{where}: no module {error.name!r} here or installed, asked for by {path}"
        ) from error
    except ValueError as error:
        raise StrataError(f"{where}: {path!r} is not an import path such as my_heads.Nearest") from error
    if not (inspect.isclass(cls) and issubclass(cls, Head)):
        raise StrataError(f"{where}: {path} is not a class made from heads.Head; docs/heads.md shows one")
    return cls


def _of_sklearn(name: str, path: str, section: dict[str, Any], where: str) -> HeadSpec:
    """Read a section that names an estimator of scikit-learn: its settings, and whether to standardise."""
    given, label = _settings(name, section, where)
    standardise = given.pop("standardise", True)
    estimator = {CLASS: path, **given}
    cls: type[Head] = sklearn_head.SklearnHead
    try:
        if is_classifier(sklearn_head.build(estimator)):
            cls = classifier.SklearnClassifier
        json.dumps(estimator)
    except StrataError as error:
        raise StrataError(f"{where}: {error}") from None
    except TypeError as error:
        raise StrataError(f"{where}: settings must be JSON values ({error})") from None
    settings = {"estimator": estimator, "standardise": standardise}
    return HeadSpec(name, cls, settings, label)


def _settings(name: str, section: dict[str, Any], where: str) -> tuple[dict[str, Any], str]:
    presets = section.pop(PRESETS, {})
    label = section.pop(PRESET, "")
    if not label:
        return section, ""
    if label not in presets:
        raise unknown("preset", label, presets, where)
    twice = sorted(presets[label].keys() & section.keys())
    if twice:
        raise StrataError(
            f"{where}: {', '.join(twice)} is set both in preset {label} and beside it; keep one"
        )
    return {**presets[label], **section}, str(check_name(label, f"preset of {name}"))
