"""The extraction engine: structures in, pooled vectors and the source model's prediction out."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.composition import Composition, with_positions
from core.errors import StrataError, unknown
from core.lazy import need
from core.params import Extract, known_device
from core.precision import BFLOAT16, TF32
from core.structure import InvalidStructure, Structure
from zoo.backbones.base import Backbone, Output, Rows, by_cost
from zoo.backbones.registry import runner_of

if TYPE_CHECKING:
    import torch


class Extracted(NamedTuple):
    """What the network says about n structures; a rejected one has NaN vectors and an entry in `errors`.

    `counts` (n,) by the backbone's names; `prediction` (n,) the source model's first output, in its unit;
    `vectors` (n, width) float32 by checkpoint; `errors` by index.
    """

    counts: Mapping[str, NDArray[np.int64]]
    prediction: NDArray[np.float32]
    vectors: Mapping[str, NDArray[np.float32]]
    errors: dict[int, InvalidStructure]


class Engine:
    """A backbone with its weights and the settings of the section `extract`, ready to run.

    Deterministic on one machine. How it is run changes the vectors by float32 rounding only.
    """

    def __init__(self, backbone: Backbone, state: Mapping[str, Any], settings: Extract | None = None) -> None:
        self.backbone = backbone
        self.settings = settings or Extract()
        self.device = device_of(backbone, self.settings.device)
        if self.device is not None and self.settings.threads:
            need("torch", "extract").set_num_threads(self.settings.threads)
        mode = backbone.mode(self.settings.precision)
        self._tf32 = mode == TF32
        more = {"precision": mode} if mode == BFLOAT16 else {}
        self.runner = runner_of(type(backbone))(backbone, state, self.device, **more)

    def prepare(self, structures: Sequence[Structure | Composition]) -> list[Any]:
        """Turn structures into what the runner reads; one that cannot be taken becomes its reject."""
        return prepare(self.backbone, structures)

    def __call__(
        self, structures: Sequence[Structure | Composition], checkpoints: Sequence[str] | None = None
    ) -> Extracted:
        """Extract from validated structures; results keep their order."""
        return self.run(self.prepare(structures), checkpoints)

    def run(self, prepared: Sequence[Any], checkpoints: Sequence[str] | None = None) -> Extracted:
        """Run prepared structures in batches of at most the backbone's `batch_cost`, small ones first.

        Raises `StrataError` for a checkpoint that the network does not have.
        """
        known = {checkpoint.name: checkpoint.width for checkpoint in self.backbone.checkpoints}
        names, n = self._names(checkpoints), len(prepared)
        result = Extracted(
            {name: np.zeros(n, np.int64) for name in self.backbone.counts},
            np.full(n, np.nan, np.float32),
            {name: np.full((n, known[name]), np.nan, np.float32) for name in names},
            {i: p for i, p in enumerate(prepared) if isinstance(p, InvalidStructure)},
        )
        usable = [(i, p) for i, p in enumerate(prepared) if not isinstance(p, InvalidStructure)]
        with _products(self.device, self._tf32):
            for chosen in by_cost([self.backbone.cost(p) for _, p in usable], self.backbone.batch_cost):
                self._run_batch([usable[k] for k in chosen], names, result)
        return result

    def rows(self, structure: Structure, checkpoints: Sequence[str] | None = None) -> dict[str, Rows]:
        """Return the rows of a structure's atoms, bonds and angles before pooling, by checkpoint.

        Atoms are those of the structure, in its order. Nothing is compressed by symmetry, so that it takes
        the memory and the time of all rows. Raises `StrataError` where the backbone offers no rows and for an
        unknown checkpoint, `InvalidStructure` for a structure that it cannot take or that does not fit.
        """
        names = self._names(checkpoints)
        (prepared,) = self.prepare([structure])
        if isinstance(prepared, InvalidStructure):
            raise prepared
        try:
            with _products(self.device, self._tf32):
                return self.runner.rows(prepared, names)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise self._too_large(prepared) from None

    def _names(self, checkpoints: Sequence[str] | None) -> list[str]:
        """Return the checkpoints named, all of them by default; an unknown one raises `StrataError`."""
        known = [checkpoint.name for checkpoint in self.backbone.checkpoints]
        names = known if checkpoints is None else list(checkpoints)
        for name in names:
            if name not in known:
                raise unknown("checkpoint", name, known, f"backbone {self.backbone.name}")
        return names

    def _too_large(self, prepared: Any) -> InvalidStructure:
        return InvalidStructure(
            "too_large",
            f"a structure with {self.backbone.describe(prepared)} does not fit into the memory of "
            f"{self.device or 'this machine'}",
        )

    def _run_batch(self, members: list[tuple[int, Any]], names: list[str], result: Extracted) -> None:
        """Run one batch; out of memory, its halves; a structure that does not fit alone is rejected."""
        try:
            output = self.runner.run([p for _, p in members], names)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if is_gpu(self.device):
                need("torch", "extract").cuda.empty_cache()
        else:
            _put(output, [i for i, _ in members], result)
            return
        if len(members) == 1:
            i, p = members[0]
            result.errors[i] = self._too_large(p)
            return
        middle = len(members) // 2
        self._run_batch(members[:middle], names, result)
        self._run_batch(members[middle:], names, result)


def prepare(backbone: Backbone, structures: Sequence[Structure | Composition]) -> list[Any]:
    """Turn structures into what a backbone's runner reads; one that cannot be taken becomes its reject."""
    found: list[Any] = []
    for structure in structures:
        try:
            found.append(backbone.prepare(_readable(backbone, structure)))
        except InvalidStructure as error:
            found.append(error)
    return found


def _readable(backbone: Backbone, structure: Structure | Composition) -> Any:
    """Give the backbone what it can read; only one that needs no positions is given a composition."""
    return with_positions(structure, backbone.name) if backbone.needs_positions else structure


def _put(output: Output, index: list[int], result: Extracted) -> None:
    for name, vectors in output.vectors.items():
        result.vectors[name][index] = vectors
    for name, counts in output.counts.items():
        result.counts[name][index] = counts
    result.prediction[index] = output.prediction


@contextmanager
def _products(device: "torch.device | None", tf32: bool) -> Iterator[None]:
    """Set the precision of products on a GPU, and leave the host program's own setting as it was."""
    if not is_gpu(device):
        yield
        return
    torch = need("torch", "extract")
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def imitates_bfloat16(device: "torch.device | None") -> bool:
    """Tell whether products in bfloat16 are imitated there: with the same vectors, slower than in float32."""
    torch = need("torch", "extract")
    if is_gpu(device):
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    return not torch.cpu.get_capabilities().get("avx512_bf16")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; on a CPU torch says so in a plain RuntimeError."""
    torch = sys.modules.get("torch")  # where it is not loaded, the error is not its own
    kinds = (MemoryError, torch.OutOfMemoryError) if torch else MemoryError
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def device_of(backbone: Backbone, name: str) -> "torch.device | None":
    """Return the device that a backbone runs on; None for one that does not run on torch."""
    return pick_device(name) if backbone.runs_on_torch() else None


def is_gpu(device: "torch.device | None") -> bool:
    """Tell whether a device is a GPU."""
    return device is not None and device.type == "cuda"


def pick_device(name: str) -> "torch.device":
    """Resolve `auto`: the first GPU where there is one, else the CPU.

    Raises `StrataError` for a name that is no device, or a GPU that torch does not see.
    """
    torch = need("torch", "extract")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind, _, index = known_device(name).partition(":")
    except ValueError as error:
        raise StrataError(f"extract.device: {error}") from None
    gpus = torch.cuda.device_count()
    if kind == "cuda" and int(index or 0) >= gpus:
        raise StrataError(f"extract.device is {name}, but torch sees {gpus} GPUs here; use auto or cpu")
    return torch.device(name)
