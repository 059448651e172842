"""Labels that a source model was trained on: a score by its vectors is marked, and counts in no aggregate."""

from zoo.hub import SourceCard, has_seen, list_models, load_card


class SeenLabels:
    """Tells which source models were trained on the values of a target; each card is read once.

    A source model without a card has seen nothing that is known.
    """

    def __init__(self) -> None:
        self._names = set(list_models())
        self._cards: dict[str, SourceCard] = {}

    def by(self, source_model: str | None, dataset: str, prop: str) -> tuple[str, ...]:
        """Return those among the source models of a run (joined by +, as tables keep them)."""
        names = source_model.split("+") if isinstance(source_model, str) and source_model else []
        return tuple(
            name for name in names if name in self._names and has_seen(self._card(name), dataset, prop)
        )

    def _card(self, name: str) -> SourceCard:
        if name not in self._cards:
            self._cards[name] = load_card(name)
        return self._cards[name]
