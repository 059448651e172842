"""What an ingest found, counted, and how it is shown: one screen a dataset."""

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from etl.cards import DatasetCard


@dataclass(slots=True)
class IngestReport:
    """Counts of one ingest. `print` it with rich.

    values: for every property how many were `kept`, `missing` or `not finite`; rejects: by code.
    """

    card: DatasetCard
    records: int = 0
    entries: int = 0
    structures: int = 0  # different ones
    duplicates: int = 0  # records that repeat an earlier one word for word
    rejects: Counter[str] = field(default_factory=Counter)
    values: dict[str, Counter[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.values = {name: Counter() for name in self.card.properties}

    def __rich__(self) -> RenderableType:
        """The report as rich shows it."""
        card = self.card
        head = (
            f"{card.name}: {self.entries:,} entries, {self.structures:,} unique structures, "
            f"{sum(self.rejects.values()):,} rejects, {self.duplicates:,} repeated records"
        )
        if self.records != card.expected_rows:
            head += f"; {self.records:,} of the {card.expected_rows:,} published records"
        table = Table(box=None, pad_edge=False)
        for title in ("property", "unit", "values", "missing", "not finite"):
            table.add_column(title, justify="left" if title in ("property", "unit") else "right")
        for name, counts in self.values.items():
            numbers = (f"{counts[reason]:,}" for reason in ("kept", "missing", "not finite"))
            table.add_row(name, card.properties[name].unit, *numbers)
        codes = [f"  rejected as {code}: {count:,}" for code, count in sorted(self.rejects.items())]
        return Group(Text(head), table, *(Text(line) for line in codes))
