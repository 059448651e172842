"""Shares of the atoms of some structures in a prediction: one more pass through a network each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError
from core.progress import Meter
from evaluation.explorer.structure_map import Crystals, Shares
from zoo.explain import EXACT
from zoo.load import LoadedModel


def shares_of(
    model: LoadedModel, crystals: Crystals, places: Sequence[int], which: str, *, told: bool = False
) -> Shares:
    """Compute the shares of the atoms of the structures at `places`; those that have none are left out.

    which: says on the page which structures these are. A model of classes, or a network of the target's own,
    has no shares, and one that reads a user's own columns is not asked here.
    """
    card = model.card
    if card.classes or model.network is not None or any(reads.columns for reads in model.sources.values()):
        return Shares({}, card.unit, f"The model of {card.name} has no shares of atoms.")
    found: dict[int, NDArray[np.float64]] = {}
    methods = set()
    with Meter("shares of atoms", len(places) if told else 0) as meter:
        for place in places:
            structure = crystals.structure(place)
            if structure is not None:
                try:
                    explained = model.explain(structure)
                except StrataError:  # a network refuses this structure, and the page says which have shares
                    continue
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


def worth_explaining(values: NDArray[np.float64], count: int) -> list[int]:
    """Return the places of the `count` largest of (n,) values, the largest first; NaN never."""
    there = np.flatnonzero(np.isfinite(values))
    return [int(i) for i in there[np.argsort(-values[there], kind="stable")][:count]]
