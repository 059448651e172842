"""Embeddings as a step of scikit-learn's pipelines: structures in, vectors out."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from core.errors import StrataError
from core.params import Extract
from zoo.embed import chosen_checkpoints, embed
from zoo.given import items_of
from zoo.hub import backbone_of, load_card


class Embedder(TransformerMixin, BaseEstimator):
    """Turns structures into the vectors of a source model; nothing is learned from them.

    source_model: by default the embedded ALIGNN. checkpoints: names, by default the deepest of each kind.
    Both are looked up by `fit`, which raises `StrataError` for unknown ones. A network runs at each
    `transform`: in a search over settings of the last step, give the pipeline a `memory`.

    >>> from ase.build import bulk
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> metals = [bulk(name) for name in ("Cu", "Ag", "Au", "Al")]
    >>> model = make_pipeline(Embedder(), Ridge()).fit(metals, [140.0, 100.0, 180.0, 76.0])
    >>> model.predict([bulk("Ni")]).shape
    (1,)
    """

    def __init__(self, source_model: str | None = None, checkpoints: Sequence[str] | None = None) -> None:
        self.source_model = source_model
        self.checkpoints = checkpoints

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002 - the names of scikit-learn
        """Look up source model and checkpoints; the structures are not looked at."""
        name = self.source_model or Extract().default
        self.source_model_ = name
        self.checkpoints_ = chosen_checkpoints(
            backbone_of(load_card(name)).checkpoints, self.checkpoints, name
        )
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return (n, d) vectors of n structures or files of one structure each (see `zoo.embed.embed`).

        Raises `StrataError` naming the first structure that cannot be used: scikit-learn needs a row for
        each.
        """
        check_is_fitted(self)
        items = items_of(X)
        names = [f"structure {i}" for i in range(len(items))]
        found = embed(
            items,
            ids=names,
            checkpoints=[checkpoint.name for checkpoint in self.checkpoints_],
            source_model=self.source_model_,
        )
        if found.rejects:
            first = found.rejects[0]
            item = items[names.index(first.entry_id)]
            raise StrataError(
                f"{first.entry_id} of {len(items)} ({_words(item)}) cannot be embedded: {first.code}: "
                f"{first.message}; leave it out, with its target: strata.embed tells all such structures"
            )
        return found.vectors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return a name for each of the d numbers: its checkpoint and its place there."""
        check_is_fitted(self)
        names = [f"{c.name}_{i}" for c in self.checkpoints_ for i in range(c.width)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # structures are no table
        tags.no_validation = True
        return tags


def _words(item: Any) -> str:
    """Say in a few words what somebody gave."""
    text = " ".join(str(item).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
