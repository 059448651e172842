"""Where each table of a store lies; every path is made here and nowhere else."""

from dataclasses import dataclass
from pathlib import Path

from core.errors import check_name
from featurestore.tables.address import located
from featurestore.tables.log import LOG
from featurestore.tables.places import storage_of

PER_DATASET = (
    "structures", "entries", "targets", "datasets", "published", "splits", "runs", "predictions"
)  # fmt: skip
PER_SOURCE = ("features", "extractions")
WHOLE_STORE = ("scores", "intervals", "looks", "screens", "duplicates")
_RUNS = ("runs", "predictions")


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The folders of a store; `root` may be an address, and is then the folder that stands for it.

    >>> StoreLayout(Path("store")).targets("emt_alloys").as_posix()
    'store/targets/emt_alloys'
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", located(self.root))

    def table(self, kind: str, dataset: str | None = None) -> Path:
        """Return the folder of one table; `dataset` is needed for the kinds kept per dataset or source model.

        A name that may not become part of a path raises `StrataError`.
        """
        root = Path(self.root)
        if kind in WHOLE_STORE:
            return root / kind
        if dataset is None or kind not in (*PER_DATASET, *PER_SOURCE):
            raise ValueError(f"no table {kind!r} for dataset {dataset!r}")
        check_name(dataset, "source model" if kind in PER_SOURCE else "dataset")
        if kind in _RUNS:
            return root / "runs" / dataset / kind
        return root / kind / dataset

    def structures(self, dataset: str) -> Path:
        """Return the folder of a dataset's structures."""
        return self.table("structures", dataset)

    def entries(self, dataset: str) -> Path:
        """Return the folder of a dataset's entries; its log also keeps the rejects."""
        return self.table("entries", dataset)

    def targets(self, dataset: str) -> Path:
        """Return the folder of a dataset's target values."""
        return self.table("targets", dataset)

    def splits(self, dataset: str) -> Path:
        """Return the folder of a dataset's parts."""
        return self.table("splits", dataset)

    def runs(self, dataset: str) -> Path:
        """Return the folder of a dataset's runs."""
        return self.table("runs", dataset)

    def predictions(self, dataset: str) -> Path:
        """Return the folder of a dataset's predictions."""
        return self.table("predictions", dataset)

    def models(self, dataset: str) -> Path:
        """Return the folder that holds a dataset's fitted models, one folder per run."""
        return self.runs(dataset).parent / "models"

    def trained(self, kind: str, dataset: str) -> Path:
        """Return the folder of the runs, predictions or models of networks that were trained on a dataset.

        The stage `finetune` writes there: an output of DVC belongs to one stage. Queries see both as one.
        """
        return Path(self.root) / "finetune" / check_name(dataset, "dataset") / kind

    def features(self, source_model: str) -> Path:
        """Return the folder of a source model's vectors, a wide table of its own."""
        return self.table("features", source_model)

    def extractions(self, source_model: str) -> Path:
        """Return the folder of the row that says what a source model's vectors are."""
        return self.table("extractions", source_model)

    @property
    def older_features(self) -> Path:
        """Return where earlier versions kept the log of the vectors of all source models."""
        return Path(self.root) / "features" / LOG

    @property
    def scores(self) -> Path:
        """Return the folder of the scores that `evaluate` read off."""
        return self.table("scores")

    @property
    def intervals(self) -> Path:
        """Return the folder of the intervals of test parts, which `evaluate` writes beside the scores."""
        return self.table("intervals")

    @property
    def looks(self) -> Path:
        """Return the folder of the audit: a row for each look at a test part."""
        return self.table("looks")

    @property
    def screens(self) -> Path:
        """Return the folder of the screenings that were kept."""
        return self.table("screens")

    @property
    def duplicates(self) -> Path:
        """Return the folder that says which structures are one crystal."""
        return self.table("duplicates")

    def tables(self, kind: str) -> list[Path]:
        """Return the folders of one kind that exist, in the order of the datasets' names."""
        root, storage = Path(self.root), storage_of(self.root)
        above, below = ([root / "runs", root / "finetune"], kind) if kind in _RUNS else ([root / kind], "")
        found = [place / name / below for place in above for name in sorted(storage.folders(place))]
        if kind in WHOLE_STORE:
            found = [root / kind]
        there = storage.each(lambda folder: storage.is_folder(folder / LOG), found)
        return [folder for folder, is_table in zip(found, there, strict=True) if is_table]

    @classmethod
    def around(cls, folder: Path) -> "StoreLayout":
        """Return the layout of the store that a table's folder lies in; its parent where it is in none.

        >>> StoreLayout.around(Path("store/runs/emt_alloys/predictions")).root.as_posix()
        'store'
        """
        folder = Path(folder)
        above = folder.parents
        if len(above) > 2 and folder.name in _RUNS and above[1].name in ("runs", "finetune"):
            return cls(above[2])
        if len(above) > 1 and above[0].name in (*PER_DATASET, *PER_SOURCE):
            return cls(above[1])
        return cls(above[0])

    def kind_of(self, folder: Path) -> str:
        """Return the kind of the table that lies in `folder`."""
        parts = folder.relative_to(self.root).parts
        return parts[2] if parts[0] in ("runs", "finetune") else parts[0]

    def dataset_of(self, folder: Path) -> str | None:
        """Return the dataset whose table lies in `folder`; None for a table of the whole store."""
        parts = folder.relative_to(self.root).parts
        return parts[1] if parts[0] not in (*WHOLE_STORE, *PER_SOURCE) else None

    def source_of(self, folder: Path) -> str | None:
        """Return the source model whose table lies in `folder`; None for a table of another kind."""
        parts = folder.relative_to(self.root).parts
        return parts[1] if parts[0] in PER_SOURCE else None
