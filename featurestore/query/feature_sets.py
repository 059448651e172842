"""Feature sets: checkpoints of one or several source models side by side, by names that are derived.

A name is `SOURCE/SET`, or SET alone for the default source model; several are joined by `+`. SET is a
checkpoint, kinds joined at one depth (kind_kind_3), `last` (the deepest checkpoint of each kind) or `all`.
Where a network has the kinds of ALIGNN, these are the 38 sets of Gupta et al. 2024, in the paper's order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import StrataError, unknown
from featurestore.query.sources import Source
from featurestore.tables.schema import Checkpoint

LAST, ALL = "last", "all"
DEFAULT = LAST


class Block(NamedTuple):
    """One checkpoint's columns in a matrix: `start` to `stop`."""

    source: str
    checkpoint: str
    kind: str
    depth: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """What lies side by side; `name` is one way of writing it, the same for all that mean the same."""

    name: str
    blocks: tuple[Block, ...]
    extractions: Mapping[str, str]  # source model → id of the extraction that is read

    @property
    def width(self) -> int:
        """How many numbers a structure has."""
        return self.blocks[-1].stop

    @property
    def sources(self) -> tuple[str, ...]:
        """The source models, in the order in which they lie side by side."""
        return tuple(self.extractions)

    @property
    def source_model(self) -> str:
        """The source models as one text, as tables keep it."""
        return "+".join(self.extractions)

    @property
    def extraction_id(self) -> str:
        """The extractions as one text, as tables keep it."""
        return "+".join(self.extractions.values())

    def of(self, source: str) -> list[Block]:
        """Return the blocks of one source model."""
        return [block for block in self.blocks if block.source == source]


def kinds_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Return the kinds of a network's checkpoints, in its own order.

    >>> kinds_of([Checkpoint("a_0", "a", 0, 4), Checkpoint("b_0", "b", 0, 4), Checkpoint("b_1", "b", 1, 4)])
    ['a', 'b']
    """
    return list(dict.fromkeys(checkpoint.kind for checkpoint in checkpoints))


def named_sets(checkpoints: Sequence[Checkpoint]) -> dict[str, tuple[Checkpoint, ...]]:
    """Return every named set of one network: single checkpoints, kinds joined by depth, and the deepest.

    `last` and `all` are left out: the one is another word for the last of these, the other for everything.
    """
    kinds = kinds_of(checkpoints)
    by_depth = {kind: {c.depth: c for c in checkpoints if c.kind == kind} for kind in kinds}
    found: dict[str, tuple[Checkpoint, ...]] = {c.name: (c,) for c in checkpoints}
    for count in range(2, len(kinds) + 1):
        joined = kinds[:count]
        depths = sorted(set.intersection(*(set(by_depth[kind]) for kind in joined)))
        for depth in depths:
            found[f"{'_'.join(joined)}_{depth}"] = tuple(by_depth[kind][depth] for kind in joined)
    if len(kinds) > 1:
        found[f"{'_'.join(kinds)}_{LAST}"] = _deepest(by_depth)
    return found


def kind_of_set(name: str) -> str:
    """Return what a named set is made of: its name without the depth.

    >>> kind_of_set("cell_face_3"), kind_of_set("cell_face_last")
    ('cell_face', 'cell_face_last')
    """
    return name if name.endswith(f"_{LAST}") else name.rpartition("_")[0]


def full_name(feature_set: str | None, source_model: str | None) -> str:
    """Return a feature set with its source model before it, from the two as tables keep them; "" for none.

    >>> full_name("last", "chgnet"), full_name("a/last+b/all", "a+b"), full_name(None, None)
    ('chgnet/last', 'a/last+b/all', '')
    >>> full_name("site_0+pair_1", "a")
    'a/site_0+a/pair_1'
    """
    if not isinstance(feature_set, str) or not feature_set:
        return ""
    alone = isinstance(source_model, str) and source_model and "+" not in source_model
    return "+".join(f"{source_model}/{part}" for part in feature_set.split("+")) if alone else feature_set


def resolve(text: str, sources: Mapping[str, Source], default: str | None = None) -> FeatureSet:
    """Find what a feature set's name means among the source models of a store.

    default: the source model that is meant where none is named. Raises `StrataError` for an unknown source
    model or set, naming the nearest, and where a checkpoint would stand twice.
    """
    named: list[tuple[str, str, tuple[Checkpoint, ...]]] = []
    for part in text.split("+"):
        source, slash, name = part.strip().rpartition("/")
        source = source if slash else (default or "")
        if source not in sources:
            raise unknown("source model", source or "none", sources, f"feature set {text!r}")
        named.append((source, *_resolve_one(name, sources[source], text)))
    blocks: list[Block] = []
    at = 0
    for source, _, checkpoints in named:
        for c in checkpoints:
            blocks.append(Block(source, c.name, c.kind, c.depth, at, at + c.width))
            at += c.width
    places = [(block.source, block.checkpoint) for block in blocks]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise StrataError(f"feature set {text!r}: {'/'.join(twice)} stands in it twice")
    extractions = {source: sources[source].extraction_id for source, _, _ in named}
    alone = len(extractions) == 1
    name = "+".join(one if alone else f"{source}/{one}" for source, one, _ in named)
    return FeatureSet(name, tuple(blocks), extractions)


def one_checkpoint(text: str | None, sources: Mapping[str, Source], default: str | None = None) -> FeatureSet:
    """Find a set of one checkpoint; None means the deepest of the first kind. Several raise `StrataError`."""
    if text is None or text.endswith("/"):
        source = (text or "").rstrip("/") or default or ""
        if source not in sources:
            raise unknown("source model", source or "none", sources)
        first = kinds_of(sources[source].checkpoints)[0]
        deepest = [c for c in sources[source].checkpoints if c.kind == first][-1]
        text = f"{source}/{deepest.name}"
    found = resolve(text, sources, default)
    if len(found.blocks) != 1:
        raise StrataError(
            f"{text} is several checkpoints side by side; name one, such as {found.blocks[0].checkpoint}"
        )
    return found


def _resolve_one(name: str, source: Source, text: str) -> tuple[str, tuple[Checkpoint, ...]]:
    """Return a set's one way of writing, and its checkpoints."""
    sets = named_sets(source.checkpoints)
    if name == ALL:
        return ALL, tuple(source.checkpoints)
    if name == LAST:
        kinds = kinds_of(source.checkpoints)
        name = f"{'_'.join(kinds)}_{LAST}" if len(kinds) > 1 else source.checkpoints[-1].name
    if name not in sets:
        where = f"feature set {text!r}, source model {source.name}"
        raise unknown("feature set", name, [*sets, LAST, ALL], where)
    return name, sets[name]


def _deepest(by_depth: Mapping[str, Mapping[int, Checkpoint]]) -> tuple[Checkpoint, ...]:
    return tuple(depths[max(depths)] for depths in by_depth.values())
