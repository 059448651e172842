"""A source model's card as its YAML file says it."""

from typing import Any

import yaml

from zoo.hub import SourceCard

_WIDTH = 110
_IN_FULL = ("architecture", "graph")


def card_text(card: SourceCard) -> str:
    """Return a card as its YAML file says it."""
    return str(yaml.safe_dump(_as_written(card), sort_keys=False, allow_unicode=True, width=_WIDTH))


def _as_written(card: SourceCard) -> dict[str, Any]:
    """What a card's file says: all of architecture and graph, so that no default can change under a model."""
    told, everything = (card.model_dump(mode="json", exclude_defaults=short) for short in (True, False))
    return {
        name: value if name in _IN_FULL else told[name]
        for name, value in everything.items()
        if name in told or name in _IN_FULL
    }
