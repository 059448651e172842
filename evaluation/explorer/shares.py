"""Shares of the atoms of some structures in a prediction: one more pass through a network each."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError
from core.progress import Meter
from evaluation.explorer.structure_map import Crystals, Shares, StructureMap
from zoo.explain import EXACT, Explanation
from zoo.load import LoadedModel

Explain = Callable[[int], list[float] | None]  # a structure's place to the shares of its atoms


def shares_of(
    model: LoadedModel, crystals: Crystals, places: Sequence[int], which: str, *, told: bool = False
) -> Shares:
    """Compute the shares of the atoms of the structures at `places`; those that have none are left out.

    which: says on the page which structures these are. A model of classes, or a network of the target's own,
    has no shares, and one that reads a user's own columns is not asked here.
    """
    card = model.card
    if not _has_shares(model):
        return Shares({}, card.unit, f"The model of {card.name} has no shares of atoms.")
    found: dict[int, NDArray[np.float64]] = {}
    methods = set()
    with Meter("shares of atoms", len(places) if told else 0) as meter:
        for place in places:
            if (explained := _explained(model, crystals, place)) is not None:
                found[int(place)] = explained.atoms
                methods.add(explained.method)
            meter.advance(1)
    if not found:
        return Shares({}, card.unit, "None of the structures has shares of atoms.")
    how = "exact, of a linear head" if methods == {EXACT} else "approximate: by leaving an atom's rows out"
    about = (
        f"Share of each atom in the prediction of {card.property}, from the mean of the training vectors "
        f"({how}). {len(found):,} structures have it: {which}."
    )
    return Shares(found, card.unit, about)


def on_request(shown: StructureMap, model: LoadedModel) -> tuple[StructureMap, Explain | None]:
    """Return a map that says that shares are computed when they are asked for, and what computes them."""
    if not _has_shares(model):
        return shown, None

    def explain(place: int) -> list[float] | None:
        explained = _explained(model, shown.crystals, place)
        return None if explained is None else explained.atoms.tolist()

    about = f"Share of each atom in the prediction of {model.card.property}, computed when a point is chosen."
    return replace(shown, shares=Shares({}, model.card.unit, about)), explain


def _has_shares(model: LoadedModel) -> bool:
    own = any(reads.columns for reads in model.sources.values())
    return not (model.card.classes or model.network is not None or own)


def _explained(model: LoadedModel, crystals: Crystals, place: int) -> Explanation | None:
    structure = crystals.structure(place)
    if structure is None:
        return None
    try:
        return model.explain(structure)
    except StrataError:  # a network refuses this structure, and the page says which have shares
        return None


def worth_explaining(values: NDArray[np.float64], count: int) -> list[int]:
    """Return the places of the `count` largest of (n,) values, the largest first; NaN never."""
    there = np.flatnonzero(np.isfinite(values))
    return [int(i) for i in there[np.argsort(-values[there], kind="stable")][:count]]
