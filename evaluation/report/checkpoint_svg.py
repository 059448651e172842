"""The picture of the source models' checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.report.templates import environment


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a source model where vectors of `width` numbers were read; used: by the runs shown."""

    source: str
    name: str
    kind: str
    depth: int
    width: int
    is_used: bool = False


def checkpoint_svg(checkpoints: Sequence[Checkpoint]) -> str:
    """Draw the checkpoints as layers, one column per source model and kind; used ones are filled."""
    columns: dict[tuple[str, str], list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        columns.setdefault((checkpoint.source, checkpoint.kind), []).append(checkpoint)
    sources = [source for source, _ in columns]
    return (
        environment()
        .get_template("checkpoints.svg.jinja")
        .render(
            columns=columns,
            starts={source: sources.index(source) for source in sources},
            deepest=max((checkpoint.depth for checkpoint in checkpoints), default=0),
            widths=sorted({checkpoint.width for checkpoint in checkpoints}),
        )
    )
