"""A screening on a screen: what is left out and why, and a table of the best."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from core.progress import duration
from core.text import number
from featurestore.query.output import show
from zoo.candidates import Candidates, Lacking
from zoo.screen import Screening
from zoo.show import about

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 200  # rows; more are written with -o


def lacking(candidates: Candidates, seconds: Mapping[str, float]) -> list[str]:
    """Say how many candidates have no vectors by which source model, and what to run.

    seconds: how long that would take, by source model.
    """
    n, lines = len(candidates), []
    for one in candidates.lacking:
        name = one.reads.name
        if one.missing:
            took = f", about {duration(seconds[name])} here" if name in seconds else ""
            lines.append(
                f"{one.missing:,} of {n:,} structures have no vectors by {name}; to get them: {_command(one)}"
                f"{took}, with {', '.join(candidates.over)} under datasets in params.yaml"
            )
        if one.rejected:
            lines.append(f"{one.rejected:,} of {n:,} structures cannot be read by {name}: view rejects")
    left = int((~candidates.usable).sum())
    return [*lines, f"{left:,} are left out, {n - left:,} are screened"] if lines else []


def _command(one: Lacking) -> str:
    return f"strata {'columns' if one.reads.columns else 'extract'} {one.reads.name}"


def table(screening: Screening, frame: "pd.DataFrame") -> None:
    """Print the best structures, and what the model is."""
    model, wanted = screening.candidates.model, screening.wanted
    by = "chance" if wanted.has_window else "value, lowest first" if wanted.lowest else "value"
    what = f"{model.card.property} after {model.card.dataset} of {', '.join(screening.candidates.over)}"
    title = f"{what}: {len(frame):,} of {len(screening):,} ranked, by {by}"
    headers = (
        *("rank", "entry", "formula", f"value ({model.card.unit})", f"{screening.level:.0%} interval"),
        *(["chance"] if wanted.has_window else []),
        *("domain", "nearest", "in training"),
    )
    show(title, headers, [_cells(row) for row in frame.head(SHOWN).to_dict("records")])
    if wanted.has_window and not (frame["chance"] > 0).any():
        typer.echo("none of them lies in the window by any error that was seen: no chance is above 0")
    what, _, *caution = about(model)
    for line in (what, *caution):
        typer.echo(line)


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    interval = f"{number(row.get('low'))} to {number(row.get('high'))}"
    domain = f"{row['domain']} ({row['percentile']:.0f})"
    if row["new_elements"]:
        domain = f"{row['domain']}: no {row['new_elements']} in training"
    near = f"{row['near_1']} {row['near_1_formula']} {number(row['near_1_value'], 3)}"
    chance = [f"{row['chance']:.0%}"] if "chance" in row else []
    first = (row["rank"], row["entries"], row["formula"], number(row["value"]), interval)
    return (*first, *chance, domain, near, row["in_training"])
