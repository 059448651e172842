"""A map of all structures that a screening ranked."""

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError
from evaluation.explorer.build import SHARES, about_model
from evaluation.explorer.collect import structures_of, vectors_of
from evaluation.explorer.judged import DOMAIN, Said
from evaluation.explorer.projection import nearest, pca
from evaluation.explorer.shares import shares_of
from evaluation.explorer.structure_map import PREDICTIONS, Column, StructureMap, shown_unit
from featurestore.query.feature_sets import full_name
from zoo.load import LoadedModel
from zoo.screen import Screening


def screened_map(screening: Screening, model: LoadedModel, *, told: bool = False) -> StructureMap:
    """Map the structures of the datasets that were screened; those without a rank are pale.

    Projected are the vectors of the model's first network. Raises `StrataError` where nothing was ranked.
    """
    if not len(screening):
        raise StrataError("no structure meets what is wanted, so that there is no map: widen the window")
    candidates, prop, unit = screening.candidates, model.card.property, model.card.unit
    store = candidates.store
    found = structures_of(store, candidates.over)
    place = {name: i for i, name in enumerate(found.ids)}
    known = candidates.known["structure_id"].to_pylist()
    rows = np.array([place[known[row]] for row in screening.rows])

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.full(len(found.ids), np.nan)
        whole[rows] = values
        return whole

    def number(name: str) -> NDArray[np.float64]:
        return spread(screening.predicted[name].to_numpy().astype(float))

    def word(name: str) -> list[str]:
        words = [""] * len(found.ids)
        for row, value in zip(rows, screening.predicted[name].to_pylist(), strict=True):
            words[row] = str(value if not isinstance(value, bool) else "yes" if value else "no")
        return words

    said = Said(
        number("value"), number("low"), number("high"), word("domain"), number("percentile"), screening.level
    ).columns(prop, unit, model.card.name)
    rank = Column("rank", spread(np.arange(1.0, len(rows) + 1)), "", PREDICTIONS, "1 is the best.")
    chance = [
        Column(
            "chance",
            number("chance"),
            "",
            PREDICTIONS,
            "That the value lies in the window, by errors that were seen.",
        )
    ]
    source = next((name for name in model.sources if name in store.sources), None)
    one = store.one_checkpoint(None if source is None else f"{source}/")
    checkpoint = full_name(one.name, one.source_model)
    X = vectors_of(store, found, checkpoint)
    near = nearest(X)
    columns = (
        *pca(X, checkpoint),
        rank,
        *(chance if screening.wanted.has_window else []),
        *said,
        Column.of_words("in training", word("in_training"), PREDICTIONS, "Whether it is a training entry."),
        Column.of_words(
            "nearest in training", word("near"), PREDICTIONS, "The nearest training entry of the model."
        ),
        *found.columns,
    )
    listed = ["rank", "chance", f"{prop}, prediction", f"{prop}, low end", f"{prop}, high end"]
    listed += [f"{prop}, {DOMAIN}", "in training", "nearest in training"]
    names = {column.name for column in columns}
    places = rows[:SHARES].tolist()
    return StructureMap(
        title=f"{prop} of {', '.join(candidates.over)}: {len(rows):,} of {len(found.ids):,} ranked",
        names=found.names,
        entries=found.entries,
        formulas=found.formulas,
        crystals=found.crystals,
        columns=columns,
        x=columns[0].name,
        y=columns[1].name,
        colour="chance" if screening.wanted.has_window else f"{prop}, prediction",
        near=near.places,
        far=near.distances,
        near_by=checkpoint,
        shares=shares_of(model, found.crystals, places, f"the best {len(places):,}", told=told),
        notes=(_wanted(screening, prop, unit), about_model(model, screening.level)),
        listed=tuple(name for name in listed if name in names),
    )


def _wanted(screening: Screening, prop: str, unit: str) -> str:
    """Say in a sentence what was looked for."""
    wanted = screening.wanted
    low, high = wanted.window
    if wanted.has_window:
        if np.isfinite(low) and np.isfinite(high):
            ends = f"between {low:g} and {high:g}"
        else:
            ends = f"above {low:g}" if np.isfinite(low) else f"below {high:g}"
        what = f"Ranked by the chance that {prop} lies {ends} {shown_unit(unit)}".rstrip()
    else:
        what = f"Ranked by {prop}, the {'lowest' if wanted.lowest else 'highest'} first"
    conditions = [f"where {wanted.where}"] if wanted.where else []
    conditions += ["inside of the model's domain alone"] if wanted.inside_only else []
    return f"{', '.join([what, *conditions])}."
