"""Cards of datasets on the screen: their list, and one explained."""

from rich.console import Console
from rich.table import Table

from etl.cards import list_cards, load_card


def list_all() -> None:
    """Print a line for each dataset."""
    table = Table(box=None, pad_edge=False)
    for title in ("dataset", "rows", "properties", "provider", "title"):
        table.add_column(
            title, justify="right" if title in ("rows", "properties") else "left", no_wrap=title != "title"
        )
    for card in list_cards():
        table.add_row(
            card.name, _rows(card.expected_rows), str(len(card.properties)), card.provider, card.title
        )
    Console().print(table)


def explain(name: str) -> None:
    """Print what one dataset holds, in which units, and where it comes from."""
    card = load_card(name)
    console = Console()
    console.print(f"[bold]{card.name}[/bold]: {card.title}", highlight=False)
    console.print(card.note, highlight=False)
    table = Table(box=None, pad_edge=False)
    for title in ("property", "unit", "origin", "description", "column", "in the paper"):
        table.add_column(title, no_wrap=title in ("property", "unit"))
    for key, item in card.properties.items():
        column = f"{item.column}: {item.formula}" if item.formula else item.column
        column += ", learned as its logarithm" if item.transform else ""
        paper = (item.paper_name or "") + (" (inferred)" if item.inferred else "")
        table.add_row(key, item.unit, item.origin, item.description, column, paper)
    console.print(table)
    file = (
        f"{card.source.file} from {card.source.url}" if card.source else card.path or "none; ASE carries it"
    )
    for label, text in (
        ("records", f"{_rows(card.expected_rows)} ({card.material_class})"),
        ("file", file),
        ("structures by id from", ", ".join(item.file for item in card.library)),
        (
            "without a structure",
            f"composition by column {card.composition_column}" if card.composition_column else "",
        ),
        ("its own split", f"column {card.split_column}" if card.split_column else ""),
        ("versions", ", ".join(f"{key} ({item.file})" for key, item in card.versions.items())),
        ("licence", card.licence),
        ("cite", f"{card.citation}{f', doi:{card.doi}' if card.doi else ''}"),
    ):
        if text:
            console.print(f"{label}: {text}", highlight=False)


def _rows(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
