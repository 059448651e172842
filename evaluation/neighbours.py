"""The worst predictions of the test part beside what the model had learned from nearby: a file for the page.

Which these are is read off what `evaluate` has scored, and nothing is chosen by it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.metrics import significant
from evaluation.protocol import Scored

if TYPE_CHECKING:  # a page that reads the file needs no network
    from evaluation.intervals import Placed

FILE = "neighbours.csv"
WORST = 10  # test entries a run
NEAREST = 3  # training entries each


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training entry near a test entry.

    value: in the property's unit. distance: in units of the median distance that training entries have from
    each other (heads/domain.py).
    """

    dataset: str
    property: str
    split: str
    entry_id: str
    neighbour: str
    formula: str
    value: float
    distance: float


def neighbours_of(scored: Scored, placed: "Placed") -> list[Neighbour]:
    """Name the nearest training entries of the entries whose prediction is furthest from the value."""
    if placed.place is None:
        return []
    rows = scored.predictions
    errors = (rows["predicted"] - rows["actual"]).abs().sort_values(ascending=False, kind="stable")
    at = {name: i for i, name in enumerate(placed.entry_ids)}
    found = []
    for entry in rows["entry_id"].loc[errors.index[:WORST]]:
        if entry not in at:  # it has no vectors
            continue
        near, far = placed.place.near[at[entry]], placed.place.far[at[entry]]
        place = (scored.dataset, scored.property, scored.split, entry)
        for row, apart in list(zip(near, far, strict=True))[:NEAREST]:
            one = placed.calibration.rows[row]
            value, distance = (significant(float(x), 6) or 0.0 for x in (one.value, apart))
            found.append(Neighbour(*place, one.entry_id, one.formula, value, distance))
    return found
