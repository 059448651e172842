"""What an ingest found, counted, and how it is shown: one screen a dataset."""

import io
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from etl.cards import DatasetCard

DROPPED = {  # why a value that is there is left out → what is said of it
    "limit": "values are limits, not values",
    "not positive": "values are not positive, and it is learned as their logarithm",
}


@dataclass(slots=True)
class IngestReport:
    """Counts of one ingest. `print` it with rich.

    values: for every property how many were `kept`, `missing`, `not finite`, or left out for one of the
    reasons `DROPPED`; first: property, reason → the first such value, in words. rejects: by code.
    """

    card: DatasetCard
    records: int = 0
    entries: int = 0
    structures: int = 0  # different ones
    compositions: int = 0  # of these, known by their formula only
    duplicates: int = 0  # records that repeat an earlier one word for word
    absent: list[str] = field(default_factory=list)  # properties whose optional column the file lacks
    absent_splits: list[str] = field(default_factory=list)  # published ones that could not be kept, in words
    own_split: str = ""  # how many entries lie in each part of the split that the table brings
    rejects: Counter[str] = field(default_factory=Counter)
    first: dict[tuple[str, str], str] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.values = {name: Counter() for name in self.card.properties}

    def counts(self) -> dict[str, dict[str, int]]:
        """For every property with a column: how many values were kept, missing, or left out, by reason."""
        return {name: dict(counts) for name, counts in self.values.items() if name not in self.absent}

    def __str__(self) -> str:
        """Return the report as plain text."""
        console = Console(width=200, file=io.StringIO())
        with console.capture() as captured:
            console.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def __rich__(self) -> RenderableType:
        """The report as rich shows it."""
        card = self.card
        head = (
            f"{card.name}: {self.entries:,} entries, {self.structures:,} unique structures, "
            f"{sum(self.rejects.values()):,} rejects, {self.duplicates:,} repeated records"
        )
        if card.version:
            head = head.replace(card.name, f"{card.name}, version {card.version}", 1)
        if card.expected_rows and self.records != card.expected_rows:
            head += f"; {self.records:,} of the {card.expected_rows:,} published records"
        table = Table(box=None, pad_edge=False)
        for title in ("property", "unit", "values", "missing", "not finite"):
            table.add_column(title, justify="left" if title in ("property", "unit") else "right")
        for name, counts in self.values.items():
            if name in self.absent:
                continue
            numbers = (f"{counts[reason]:,}" for reason in ("kept", "missing", "not finite"))
            table.add_row(name, card.properties[name].unit, *numbers)
        notes = []
        if self.compositions:
            notes.append(f"  of {self.compositions:,} of the structures only the composition is known")
        notes += [
            f"  {name}: {self.values[name][reason]:,} {DROPPED[reason]}; left out, the first {first}"
            for (name, reason), first in self.first.items()
        ]
        notes += [
            f"  {name}: classes {', '.join(item.classes)}"
            for name, item in card.properties.items()
            if item.classes
        ]
        logs = [name for name, item in card.properties.items() if item.transform == "log"]
        if logs:
            notes.append(f"  learned as a logarithm: {', '.join(logs)}")
        notes += [f"  rejected as {code}: {count:,}" for code, count in sorted(self.rejects.items())]
        if self.absent:
            notes.append(f"  without a column in this file: {', '.join(self.absent)}")
        notes += [f"  {line}" for line in self.absent_splits]
        if self.own_split:
            notes.append(
                f"  its own split, column {card.split_column}: {self.own_split}; it is used where published "
                "stands under split.schemes in params.yaml"
            )
        notes += [f"  {name}: no value in it" for name, counts in self.values.items() if not counts["kept"]]
        notes.append(f"  licence: {card.licence}; please cite {card.citation}")
        return Group(Text(head), table, *(Text(line) for line in notes))
