"""The explorer from Python: a map of a store's structures that a notebook shows and a file keeps."""

import html
import io
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from core.lazy import need
from core.params import Params
from evaluation.explorer.build import SHARES, Request, store_map
from evaluation.explorer.chemiscope_file import chemiscope_input
from evaluation.explorer.page import check_path, page, write_page
from evaluation.explorer.structure_map import StructureMap
from featurestore.query.store import FeatureStore, open_store

_HIGH = 900  # pixels of the page in a notebook


class Explorer:
    """A map of structures, ready to be shown: the last line of a notebook's cell, or `save("map.html")`."""

    def __init__(self, shown: StructureMap) -> None:
        self.map = shown

    def __repr__(self) -> str:
        return f"Explorer({self.map.title!r}, {len(self.map.columns)} columns)"

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own: nothing in it reaches the notebook."""
        content = html.escape(page(self.map), quote=True)
        allowed = "allow-scripts allow-downloads"
        title = html.escape(self.map.title, quote=True)
        return (
            f'<iframe srcdoc="{content}" sandbox="{allowed}" title="{title}" '
            f'style="width:100%;height:{_HIGH}px;border:0"></iframe>'
        )

    def save(self, path: str | Path) -> Path:
        """Write the page to a file that ends in .html; nothing else is needed to open it."""
        target = check_path(Path(path))
        write_page(self.map, target)
        return target

    def chemiscope(self) -> Any:
        """Return chemiscope's own widget of the same map, for notebooks that run it."""
        library = need("chemiscope", "explore")
        return library.show_input(io.StringIO(json.dumps(chemiscope_input(self.map))))


def explore(
    store: str | Path | FeatureStore = "store",
    datasets: str | Sequence[str] = (),
    properties: str | Sequence[str] = (),
    checkpoints: str | Sequence[str] = (),
    *,
    umap: bool = False,
    shares: int = SHARES,
    params: Params | None = None,
) -> Explorer:
    """Map the structures of a store: every one a point, with its crystal, values and neighbours.

    datasets: whose structures; by default all. properties: PROPERTY or DATASET/PROPERTY; those that are named
    are predicted for every structure where `evaluate` has chosen a model, and by default all values are
    shown. checkpoints: whose vectors are projected, CHECKPOINT or SOURCE/CHECKPOINT. umap: also a UMAP of
    each, which takes a minute for 40,000 structures. shares: for how many structures the atoms get shares of
    the prediction of the first named property. params: by default those of params.yaml, where there is one.

    Raises `StrataError` for unknown names, and where there is nothing to show.
    """
    asked = Request(_several(datasets), _several(properties), _several(checkpoints), umap, shares)
    opened = nullcontext(store) if isinstance(store, FeatureStore) else open_store(store, files=False)
    with opened as found:
        return Explorer(store_map(found, asked, params))


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
