"""The extraction engine: structures in, pooled vectors and the source model's prediction out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from core.errors import StrataError, unknown
from core.params import Extract
from core.structure import InvalidStructure, Structure
from featurestore.tables.schema import CHECKPOINTS, WIDTH
from zoo.backbones.alignn import batch as batches
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.inference import Network, Output
from zoo.backbones.alignn.prepare import Prepared, prepare

if TYPE_CHECKING:
    from zoo.hub import SourceModel

COUNTS = ("n_bonds", "n_angles", "n_distinct_atoms", "n_distinct_bonds", "n_distinct_angles")


class Extracted(NamedTuple):
    """What the network says about n structures; a rejected one has NaN vectors and an entry in `errors`.

    `counts` (n, 5) as named in COUNTS; `prediction` (n,) the source model's first output, in its unit;
    `vectors` (n, checkpoints, 256) float32; `errors` by index.
    """

    counts: np.ndarray
    prediction: np.ndarray
    vectors: np.ndarray
    errors: dict[int, InvalidStructure]


class Backend(Protocol):
    """Runs prepared structures; ours, or the reference."""

    def run(self, prepared: Sequence[Prepared], checkpoints: Sequence[str]) -> Output: ...


class TorchBackend:
    """Our own forward pass on quotient graphs."""

    def __init__(self, source: "SourceModel", device: torch.device) -> None:
        features = torch.from_numpy(atom_features())
        self.network = Network(source.state, features, source.card.architecture, device)

    def run(self, prepared: Sequence[Prepared], checkpoints: Sequence[str]) -> Output:
        """Run one batch."""
        return self.network(batches.collate([p.quotient for p in prepared]), checkpoints)


class Engine:
    """A source model with the settings of the `extract` section, ready for any number of structures.

    Deterministic on one machine. The backend and compression change the vectors by float32 rounding only.
    """

    def __init__(self, source: "SourceModel", settings: Extract | None = None) -> None:
        self.source = source
        self.settings = settings or Extract()
        self.device = pick_device(self.settings.device)
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = self.settings.tf32
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        self.backend: Backend
        if self.settings.backend == "dgl":
            from zoo.backbones.alignn.dgl import DglBackend

            self.backend = DglBackend(source)
        else:
            self.backend = TorchBackend(source, self.device)

    def prepare(self, structures: Sequence[Structure]) -> list[Prepared | InvalidStructure]:
        """Build and compress the graphs; a structure over the angle limit becomes its reject."""
        found: list[Prepared | InvalidStructure] = []
        limits = self.source.card.graph, self.settings.compression, self.settings.max_angles
        for structure in structures:
            try:
                found.append(prepare(structure, *limits))
            except InvalidStructure as error:
                found.append(error)
        return found

    def __call__(
        self, structures: Sequence[Structure], checkpoints: Sequence[str] | None = None
    ) -> Extracted:
        """Extract from validated structures; results keep their order."""
        return self.run(self.prepare(structures), checkpoints)

    def run(
        self, prepared: Sequence[Prepared | InvalidStructure], checkpoints: Sequence[str] | None = None
    ) -> Extracted:
        """Run prepared structures in batches of at most `angles_per_batch` angles, small ones first."""
        names = [c.name for c in CHECKPOINTS] if checkpoints is None else list(checkpoints)
        n = len(prepared)
        errors = {i: p for i, p in enumerate(prepared) if isinstance(p, InvalidStructure)}
        usable = [(i, p) for i, p in enumerate(prepared) if not isinstance(p, InvalidStructure)]
        result = Extracted(
            np.zeros((n, len(COUNTS)), np.int64),
            np.full(n, np.nan, np.float32),
            np.full((n, len(names), WIDTH), np.nan, np.float32),
            errors,
        )
        for i, p in usable:
            q = p.quotient
            result.counts[i] = p.n_bonds, p.n_angles, len(q.numbers), len(q.length), len(q.cosine)
        for chosen in batches.by_angles([p.quotient for _, p in usable], self.settings.angles_per_batch):
            self._run_batch([usable[k] for k in chosen], names, result)
        return result

    def _run_batch(self, members: list[tuple[int, Prepared]], names: list[str], result: Extracted) -> None:
        """Run one batch; out of memory, its halves; a structure that does not fit alone is rejected."""
        try:
            output = self.backend.run([p for _, p in members], names)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        else:
            index = [i for i, _ in members]
            result.vectors[index] = output.vectors.cpu().numpy()
            result.prediction[index] = output.prediction[:, 0].cpu().numpy()
            return
        if len(members) == 1:
            i, p = members[0]
            result.errors[i] = InvalidStructure(
                "too_large", f"{p.n_angles:,} angles do not fit into the memory of {self.device}"
            )
            return
        middle = len(members) // 2
        self._run_batch(members[:middle], names, result)
        self._run_batch(members[middle:], names, result)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; on a CPU torch says so in a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def pick_device(name: str) -> torch.device:
    """Resolve `auto`: the first GPU where there is one, else the CPU.

    Raises `StrataError` for a name that is no device, or a GPU that torch does not see.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdigit():
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:0"), "extract.device")
    gpus = torch.cuda.device_count()
    if kind == "cuda" and int(index or 0) >= gpus:
        raise StrataError(f"extract.device is {name}, but torch sees {gpus} GPUs here; use auto or cpu")
    return torch.device(name)
