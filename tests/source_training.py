"""A source model that is trained in seconds, and the store that it learns from."""

from pathlib import Path

from core.params import Params, Source
from etl.ingest import ingest
from featurestore.splits.schemes import split_dataset

DATASET = "ase_elements"
SECTION = Source(
    dataset=DATASET,
    properties=("volume",),
    split="random:0",
    epochs=2,
    batch_size=16,
    device="cpu",
    threads=1,
    max_cost=60,
    curriculum=((1, 20),),
)


def params(**changes) -> Params:
    return Params(datasets=(DATASET,), source=SECTION.model_copy(update=changes))


def drawn(folder: Path) -> Path:
    """Return a store with the dataset and its split."""
    ingest(DATASET, Params(datasets=(DATASET,)), folder)
    split_dataset(folder, DATASET, ("random",), (0,))
    return folder
