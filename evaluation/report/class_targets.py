"""What the page says of properties of classes."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.text import number
from evaluation.experiments.frames import records
from evaluation.protocol import BASE, CHOSEN, COMPOSITION
from evaluation.repetitions import Spread, most_often, spread
from evaluation.report.drawings import Chart, Mark, Series
from evaluation.seen import SeenLabels
from featurestore.query.feature_sets import full_name
from featurestore.query.store import FeatureStore

_FIGURES = ("balanced_accuracy", "roc_auc", "log_loss", "calibration_error")
_WITHIN = dict.fromkeys(_FIGURES, (0.0, 1.0)) | {"log_loss": (0.0, math.inf)}  # where intervals are cut
Bin = tuple[float, float, int]  # mean probability of the predicted class, share that was right, rows


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """One dataset's property of classes under one way of splitting; numbers are means over repetitions.

    figures: balanced_accuracy, roc_auc, log_loss and calibration_error of the chosen run; base: of Base;
    composition: of the forest by composition. seen: source models that the labels were part of. low, high:
    the interval of the balanced accuracy. bins: the reliability table over all repetitions.
    """

    dataset: str
    prop: str
    scheme: str
    head: str
    label: str
    feature_set: str
    classes: tuple[str, ...]
    n: int
    figures: dict[str, Spread | None]
    base: dict[str, Spread | None]
    low: float | None
    high: float | None
    bins: tuple[Bin, ...]
    composition: dict[str, Spread | None]
    seen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the property's name with words apart."""
        return self.prop.replace("_", " ")


def class_targets(store: FeatureStore, fitted: pd.DataFrame) -> tuple[ClassTarget, ...]:
    """Read what `evaluate` wrote of the runs in `fitted` whose property has classes."""
    rows = store.sql(
        "SELECT r.dataset, r.property, r.scheme, s.role, r.head, r.label, r.feature_set, r.source_model, "
        "r.n_train, s.* EXCLUDE (run_id, dataset, property, part, role) "
        "FROM scores s JOIN runs r USING (run_id) "
        "WHERE s.log_loss IS NOT NULL AND run_id IN (SELECT unnest(?::VARCHAR[])) "
        "ORDER BY r.dataset, r.property, r.scheme, r.seed, r.fold",
        [sorted(set(fitted["run_id"]))],
    ).df()
    found, labels = [], SeenLabels()
    for (dataset, prop, scheme), group in rows.groupby(["dataset", "property", "scheme"], sort=True):
        roles = {role: records(own) for role, own in group.groupby("role")}
        if CHOSEN not in roles:
            continue
        several = roles[CHOSEN]
        own = _means(several)
        accuracy = own["balanced_accuracy"]
        ends = (several[0]["balanced_accuracy_low"], several[0]["balanced_accuracy_high"])
        if len(several) > 1 and accuracy is not None:
            ends = (accuracy.low, accuracy.high)
        found.append(
            ClassTarget(
                *(str(dataset), str(prop), str(scheme)),
                head=most_often(row["head"] for row in several) or "",
                label=most_often(row["label"] for row in several) or "",
                feature_set=most_often(full_name(r["feature_set"], r["source_model"]) for r in several) or "",
                classes=store.facts(str(dataset)).properties[str(prop)].classes,
                n=sum(int(row["n"]) for row in several),
                figures=own,
                base=_means(roles.get(BASE, [])),
                low=ends[0],
                high=ends[1],
                bins=pooled([json.loads(row["calibration"]) for row in several]),
                composition=_means(roles.get(COMPOSITION, [])),
                seen=tuple(sorted({n for r in several for n in labels.by(r["source_model"], dataset, prop)})),
            )
        )
    return tuple(found)


def _means(several: Sequence[dict[str, Any]]) -> dict[str, Spread | None]:
    if not several:
        return dict.fromkeys(_FIGURES)
    n_train, n_test = (sum(row[name] for row in several) / len(several) for name in ("n_train", "n"))
    return {name: spread([row[name] for row in several], n_train, n_test, _WITHIN[name]) for name in _FIGURES}


def pooled(tables: Sequence[Sequence[Bin]]) -> tuple[Bin, ...]:
    """Bring the reliability tables of repetitions together, bin by bin.

    >>> pooled([[(0.95, 1.0, 3)], [(0.91, 0.0, 1), (0.55, 0.5, 2)]])
    ((0.55, 0.5, 2), (0.94, 0.75, 4))
    """
    bins: dict[int, list[Bin]] = {}
    for table in tables:
        for mean, right, rows in table:
            bins.setdefault(min(int(mean * 10), 9), []).append((mean, right, rows))
    found = []
    for _, several in sorted(bins.items()):
        rows = sum(item[2] for item in several)
        means = [round(sum(item[i] * item[2] for item in several) / rows, 6) for i in (0, 1)]
        found.append((means[0], means[1], rows))
    return tuple(found)


def reliability(target: ClassTarget) -> Chart:
    """Draw how often the predicted class is right against how probable it was said to be."""
    marks = tuple(
        Mark(mean, right, f"said {number(mean, 2)}, right {number(right, 2)}: {rows} entries")
        for mean, right, rows in target.bins
    )
    ideal = Series("as said", (Mark(0.0, 0.0, "as said"), Mark(1.0, 1.0, "as said")))
    return Chart(
        f"{target.dataset}, {target.name}: reliability",
        "probability of the predicted class",
        "share that was right",
        (Series("chosen head", marks), ideal),
        width=320,
        height=240,
    )
