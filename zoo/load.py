"""Models by name: a property of this project, or a bundle."""

from collections.abc import Sequence
from pathlib import Path

from core.errors import StrataError
from core.params import PARAMS_FILE, Params
from core.params import load as load_params
from featurestore.query.store import open_store
from zoo.model import Model
from zoo.stored import stored_model


def load(
    name: str | Path,
    *,
    store: str | Path = "store",
    params: Params | None = None,
    trust: Sequence[str] = (),
) -> Model:
    """Load the model that answers for a property, or a bundle.

    name: `DATASET/PROPERTY` of the project in this folder, or the folder or zip of a bundle.
    params: by default those of params.yaml, where there is one. trust: import paths of head classes of one's
    own that a bundle may use. Raises `StrataError` where there is no such model, and for a bundle that is
    damaged or was changed.
    """
    del trust
    settings = params or (load_params() if PARAMS_FILE.exists() else Params())
    dataset, slash, prop = str(name).partition("/")
    if slash and "/" not in prop and not Path(name).exists():
        return stored_model(open_store(store), dataset, prop, settings)
    raise StrataError(f"{name} is neither DATASET/PROPERTY nor the folder or zip of a bundle")


def named(model: str | None, dataset: str | None, prop: str | None) -> str:
    """Return the name of a model that was asked for in one of two ways. Raises `StrataError` for neither."""
    if model is not None and dataset is None and prop is None:
        return model
    if model is None and dataset is not None and prop is not None:
        return f"{dataset}/{prop}"
    raise StrataError("name the model: --model DATASET/PROPERTY (or a bundle), or --dataset and --property")
