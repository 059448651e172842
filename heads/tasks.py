"""Which heads predict numbers and which classes, and what stands for a head of numbers among classes."""

from dataclasses import replace

from heads.base import NotApplicable
from heads.classifier import Frequencies, SklearnClassifier
from heads.forest import Forest
from heads.lightgbm import LightGBM
from heads.lightgbm_classes import LightGBMClassifier
from heads.mean import Mean
from heads.registry import HeadSpec


def suited(spec: HeadSpec, classes: bool) -> HeadSpec:
    """Return the head that `spec` stands for where a property has classes, or numbers.

    Raises `NotApplicable` for a head that does not predict such.
    """
    if spec.cls.classifies == classes:
        return spec
    if not classes:
        raise NotApplicable(f"{spec.name} predicts classes, and these are numbers")
    if spec.cls is Mean:
        return replace(spec, cls=Frequencies)
    if spec.cls is LightGBM:
        return replace(spec, cls=LightGBMClassifier)
    if spec.cls is Forest:
        given = {name: value for name, value in spec.settings.items() if name != "seed"}
        estimator = {
            "class": "sklearn.ensemble.RandomForestClassifier",
            **given,
            "random_state": spec.settings["seed"],
        }
        return replace(spec, cls=SklearnClassifier, settings={"estimator": estimator, "standardise": False})
    raise NotApplicable(f"{spec.name} predicts numbers, and these are classes")
