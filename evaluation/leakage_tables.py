"""What an audit of leakage says, as tables and sentences for the screen and as a CSV."""

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from core.text import number
from evaluation.leakage import Audit, Place
from featurestore.query.output import write_csv

NOT_KNOWN = "not known"


class Shown(NamedTuple):
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def tables(audit: Audit) -> list[Shown]:
    """Return the tables of an audit; those that would be empty are left out."""
    found = [_trained_on(audit), _seen(audit), _across_parts(audit), _shared(audit), _scores(audit)]
    return [shown for shown in found if shown.rows]


def notes(audit: Audit) -> list[str]:
    """Say what is not known, and what was not looked at."""
    lines = [line for data in audit.training.values() for line in data.missing]
    if not audit.shared:
        lines.append(f"No other dataset of the store has a crystal of {audit.dataset}.")
    unseen = sorted({place.property for place in audit.places if place.run is None})
    if unseen:
        lines.append(
            f"No run on {', '.join(unseen)} was scored on the test part: all source models of the store are "
            "shown, and no errors. `strata evaluate` chooses a run and scores it."
        )
    return lines


def csv(audit: Audit) -> str:
    """Return one line per test entry of every property and split."""
    text = io.StringIO()
    entries = audit.entries
    plain = entries.astype(object).where(entries.notna(), None)
    write_csv(list(plain.columns), plain.itertuples(index=False), text)
    return text.getvalue()


def _trained_on(audit: Audit) -> Shown:
    rows = [
        (name, data.described, f"{len(data.structure_ids):,}" if data.is_known or data.structure_ids else "")
        for name, data in audit.training.items()
    ]
    return Shown(
        "What the source models were trained on", ("source model", "structures", "in the store"), rows
    )


def _seen(audit: Audit) -> Shown:
    rows = []
    for place in audit.places:
        seen = place.entries["seen_by"].str.split("+")
        labels = set("+".join(place.entries["label_seen_by"].unique()).split("+"))
        for source in place.sources:
            data = audit.training[source]
            count = sum(source in names for names in seen)
            said = f"at most {count}" if data.is_at_most and count else str(count)
            if not data.is_known:
                said = f"{said}, of the rest {NOT_KNOWN}" if data.structure_ids else NOT_KNOWN
            label = "yes" if source in labels else "no" if data.has_card else NOT_KNOWN
            rows.append((*_place(place), place.run or "–", source, len(seen), said, label))
    columns = (
        "property",
        "split",
        "chosen run",
        "source model",
        "test entries",
        "crystal seen",
        "label seen, by its card",
    )
    return Shown(f"{audit.dataset}: test entries whose crystal a source model was trained on", columns, rows)


def _across_parts(audit: Audit) -> Shown:
    rows = [
        (*_place(place), len(place.entries), place.count("train"), place.count("val"), place.val_in_train)
        for place in audit.places
    ]
    columns = ("test entries", "test, also in train", "test, also in val", "val, also in train")
    title = f"{audit.dataset}: entries whose crystal lies in another part too, in whatever cell"
    return Shown(title, ("property", "split", *columns), rows)


def _shared(audit: Audit) -> Shown:
    rows = [(name, *counts) for name, counts in audit.shared.items()]
    columns = ("dataset", "crystals in both", f"entries of {audit.dataset} that these are")
    return Shown(f"{audit.dataset}: crystals that other datasets of the store have too", columns, rows)


def _scores(audit: Audit) -> Shown:
    rows = []
    for place in audit.places:
        measure = "share wrong" if place.is_of_classes else "MAE"
        for kind, entries in _kinds(place):
            ours, base = (entries[name].mean() for name in ("error", "base_error"))
            figures = (number(ours), number(base), number(ours / base if base else None, 3))
            unit = "" if place.is_of_classes else place.unit
            rows.append((*_place(place), kind, len(entries), measure, *figures, unit))
    columns = ("property", "split", "test entries", "n", "measure", "chosen run", "Base", "× Base", "unit")
    return Shown(f"{audit.dataset}: test scores with and without the affected entries", columns, rows)


def _kinds(place: Place) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the kinds of scored test entries whose errors are told apart, by name."""
    rows = place.entries[place.entries["error"].notna()]
    if rows.empty:
        return
    known = not rows["not_known_of"].any()
    yield "all", rows
    yield "not affected" if known else "not affected, as far as is known", rows[~rows["affected"]]
    yield "affected", rows[rows["affected"]]
    seen, twin = rows["seen_by"] != "", rows["same_crystal_in"] != ""
    if seen.any() and twin.any():
        yield "  seen by a source model", rows[seen]
        yield "  in train or val too", rows[twin]


def _place(place: Place) -> tuple[str, str]:
    return place.property, str(place.split)
