"""The structures that a source model was trained on, as far as its card names them and a store has them."""

from collections.abc import Set
from dataclasses import dataclass

from core.errors import StrataError
from featurestore import FeatureStore, SplitKey
from featurestore.query.matrix import Selection, select
from featurestore.splits import published
from zoo.backbones.registry import find
from zoo.hub import LearnedFrom, list_models, load_card

TRAIN = "train"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is known of the structures that a source model was trained on.

    structure_ids: of those that the store has. described: in words, which these are. missing: why others are
    not known, and how to get them, one sentence each; none where all of them are in the store. is_at_most: of
    `structure_ids` only some were trained on, and which is not known.
    """

    source_model: str
    structure_ids: Set[str]
    described: str
    missing: tuple[str, ...] = ()
    is_at_most: bool = False
    has_card: bool = True

    @property
    def is_known(self) -> bool:
        """Tell whether a structure that is not among `structure_ids` was not trained on."""
        return not self.missing


def training_data(store: FeatureStore, source_model: str) -> TrainingData:
    """Find the structures that a source model was trained on.

    Where the card does not know which structures of a dataset these were, or the store has not the split that
    says so, all structures of the dataset are taken: that is the most it can have seen.
    """
    source = store.sources.get(source_model)
    if source is not None and source.is_columns:
        return TrainingData(source_model, frozenset(), "a table of columns: nothing was trained")
    if source_model not in list_models():
        why = f"{source_model} has no card here, and nothing says what it was trained on."
        return TrainingData(source_model, frozenset(), "not known", (why,), has_card=False)
    card = load_card(source_model)
    if card.training is None:
        if not find(card.backbone).has_weights:
            return TrainingData(source_model, frozenset(), "nothing was trained")
        return _unknown(source_model, "its card does not say")
    if not card.training.structures:
        return _unknown(source_model, f"no dataset has it, and its card says: {card.training.data}")
    found: set[str] = set()
    described, missing, at_most = [], [], False
    for part in card.training.structures:
        if part.dataset not in store.datasets():
            missing.append(
                f"{source_model} was trained on structures of {part.dataset}, which are not in the store, so "
                "that it is not known which of these crystals it saw; get them with: strata ingest "
                f"{part.dataset}"
            )
            continue
        ids, words = _structures(store, part)
        found |= ids
        at_most = at_most or part.split is None or len(ids) != part.count
        described.append(_in_words(part, words))
        if part.count and len(ids) < part.count:
            missing.append(
                f"{source_model} was trained on about {part.count:,} structures of {part.dataset}, and the "
                f"store has {len(ids):,}: what it saw of the others is not known"
            )
    return TrainingData(
        source_model, found, "; ".join(described) or "not in the store", tuple(missing), at_most
    )


def _in_words(part: LearnedFrom, where: str) -> str:
    words = f"{part.count:,} of {where}" if part.count else where
    return f"{words}: {part.note}" if part.note else words


def _unknown(source_model: str, why: str) -> TrainingData:
    line = f"What {source_model} was trained on is not known here: {why}."
    return TrainingData(source_model, frozenset(), "not known", (line,))


def _structures(store: FeatureStore, part: LearnedFrom) -> tuple[set[str], str]:
    """Return the structures of a training part, or of the whole dataset where that part is not known."""
    entries = dict(
        store.sql("SELECT entry_id, structure_id FROM entries WHERE dataset = ?", [part.dataset]).fetchall()
    )
    whole = set(entries.values())
    if part.property is None or part.split is None:
        return whole, f"all of {part.dataset}"
    place = f"{part.dataset}/{part.property}, {part.split}"
    named = _in_training(store, part.dataset, part.property, part.split)
    if named is None:
        return whole, f"all of {part.dataset}, as the store has no split {place}"
    return {entries[name] for name in named if name in entries}, f"the training part of {place}"


def _in_training(store: FeatureStore, dataset: str, name: str, split: str) -> set[str] | None:
    """Return the entries of the training part; None where the store has no such split."""
    key = SplitKey.of(split)
    try:
        drawn = key in store.splits(dataset, name)
    except StrataError:  # the dataset of this store has no such property
        return None
    if drawn:
        rows = select(store.connection, Selection(dataset, name, key, (TRAIN,)), with_targets=False)
        return set(rows["entry_id"].to_pylist())
    there = published.find(store, dataset, name) if key.scheme == "published" else None
    return None if there is None else {entry for entry, part in there.part_of.items() if part == TRAIN}
