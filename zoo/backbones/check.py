"""The contract of a backbone, run on anyone's class: `check_backbone(engine)`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from zoo.backbones.base import Runner
from zoo.backbones.engine import Engine, Extracted

_TOLERANCE = 1e-4  # of the largest number of a checkpoint: what another order of float32 sums may give
_TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]

_Demand = Callable[[object, str], None]  # what must hold, and the point of the contract that it is


def examples() -> list[Structure]:
    """Return small crystals that any network of materials takes: salts, an oxide, a carbide, a metal."""
    fcc = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    pair = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    oxide = [[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]
    return [
        Structure(fcc * 5.69, [11, 17], pair),
        Structure(np.eye(3) * 4.12, [55, 17], pair),
        Structure(np.eye(3) * 3.95, [22, 38, 8, 8, 8], oxide),
        Structure(fcc * 4.36, [14, 6], [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]]),
        Structure(np.diag([3.2, 3.4, 4.9]), [12, 12], [[0.0, 0.0, 0.0], [0.5, 0.48, 0.5]]),
    ]


def check_backbone(engine: Engine, structures: Sequence[Structure] | None = None) -> None:
    """Run the contract on a backbone in its engine; raises `StrataError` naming the first point that fails.

    Checked are names, shapes and finiteness, the same result twice and alone as in a batch, input that is
    left as it was, what the vectors may not depend on (the order of atoms, and what `invariances` claims), a
    choice of checkpoints, that a structure it cannot take becomes a reject and nothing worse, and, where rows
    are offered, that their mean is the vector.
    """
    backbone = engine.backbone
    given = list(examples() if structures is None else structures)
    names = [checkpoint.name for checkpoint in backbone.checkpoints]

    def demand(holds: object, point: str) -> None:
        if not holds:
            raise StrataError(f"backbone {backbone.name} breaks the contract: {point}")

    demand(names and len(set(names)) == len(names), "checkpoints need names, each another one")
    for kind in {checkpoint.kind for checkpoint in backbone.checkpoints}:
        depths = [c.depth for c in backbone.checkpoints if c.kind == kind]
        demand(depths == sorted(set(depths)), f"the depths of {kind} do not rise: {depths}")
    before = [structure.structure_id for structure in given]
    prepared = engine.prepare(given)
    for structure, one in zip(given, prepared, strict=True):
        demand(not isinstance(one, InvalidStructure), f"it rejects {structure.formula}: {one}")
    _check_output(engine, prepared, demand)
    first = engine(given)
    demand([s.structure_id for s in given] == before, "it alters the structures")
    demand(_same(engine(given), first, exactly=True), "a second run gives other vectors")
    demand(_same(engine(given[::-1]), first, order=slice(None, None, -1)), "results do not keep the order")
    alone = [engine([structure]) for structure in given]
    demand(_same(_joined(alone), first), "a batch gives other vectors than one at a time")
    shuffled = [Structure(s.lattice, s.numbers[::-1], s.frac_coords[::-1]) for s in given]
    demand(_same(engine(shuffled), first), "the vectors depend on the order of the atoms")
    if "rotation" in backbone.invariances:
        turned = [Structure(s.lattice @ _TURN, s.numbers, s.frac_coords) for s in given]
        demand(_same(engine(turned), first), "the vectors depend on the orientation")
    if "cell" in backbone.invariances:
        demand(_same(engine([_doubled(s) for s in given]), first), "the vectors depend on the choice of cell")
    _check_rejects(engine, demand)
    _check_rows(engine, given, first, demand)


def _check_output(engine: Engine, prepared: Sequence[Any], demand: _Demand) -> None:
    """Look at what the runner itself returns: the engine would cast it, or spread it over all rows."""
    backbone, n = engine.backbone, len(prepared)
    names = [checkpoint.name for checkpoint in backbone.checkpoints]
    output = engine.runner.run(prepared, names)
    demand(set(output.vectors) == set(names), f"it gives vectors of {sorted(output.vectors)}")
    for checkpoint in backbone.checkpoints:
        vectors = output.vectors[checkpoint.name]
        shape = (n, checkpoint.width)
        demand(vectors.shape == shape, f"{checkpoint.name} has shape {vectors.shape}, not {shape}")
        demand(vectors.dtype == np.float32, f"{checkpoint.name} is {vectors.dtype}, not float32")
        demand(np.isfinite(vectors).all(), f"{checkpoint.name} holds NaN or infinite numbers")
    shape = output.prediction.shape
    demand(shape == (n,), f"its prediction has shape {shape}, not {(n,)}")
    demand(set(output.counts) == set(backbone.counts), f"it counts {sorted(output.counts)}")
    for name, counts in output.counts.items():
        whole = counts.shape == (n,) and np.issubdtype(counts.dtype, np.integer)
        demand(whole, f"{name} is not a whole number a structure")
    some = engine.runner.run(prepared, names[:1])
    demand(set(some.vectors) == {names[0]}, "a choice of checkpoints is not kept")


def _check_rejects(engine: Engine, demand: _Demand) -> None:
    """An isolated atom and a heavy element are extracted or rejected, never anything else."""
    lone = Structure(np.eye(3) * 40, [2], [[0, 0, 0]])
    heavy = Structure(np.eye(3) * 3.5, [100], [[0, 0, 0]])
    for structure in (lone, heavy):
        try:
            found = engine([structure])
        except Exception as error:  # noqa: BLE001 - whatever comes is what is looked for
            demand(False, f"{structure.formula} raises {type(error).__name__}: {error}")
            return
        bad = found.errors.get(0)
        fine = bad is None and all(np.isfinite(v).all() for v in found.vectors.values())
        demand(
            fine or isinstance(bad, InvalidStructure), f"{structure.formula} is neither taken nor rejected"
        )


def _check_rows(engine: Engine, given: Sequence[Structure], first: Extracted, demand: _Demand) -> None:
    """Rows before pooling belong to atoms of the structure, and their mean is the pooled vector."""
    offered = type(engine.runner).rows is not Runner.rows
    demand(
        engine.backbone.offers_rows == offered,
        "offers_rows must be True where its runner has a method rows, and only there",
    )
    if not offered:
        return
    widths = {checkpoint.name: checkpoint.width for checkpoint in engine.backbone.checkpoints}
    for i, structure in enumerate(given):
        found = engine.rows(structure)
        demand(set(found) == set(widths), f"it gives rows of {sorted(found)}")
        for name, (vectors, atoms) in found.items():
            m = len(vectors)
            shape = (m, widths[name])
            demand(vectors.shape == shape, f"rows of {name} have shape {vectors.shape}, not {shape}")
            demand(vectors.dtype == np.float32, f"rows of {name} are {vectors.dtype}, not float32")
            whole = atoms.ndim == 2 and len(atoms) == m and atoms.dtype == np.int64
            demand(whole and atoms.shape[1] > 0, f"atoms of {name} are no whole numbers, (m, k), a row each")
            inside = not atoms.size or (atoms.min() >= 0 and atoms.max() < structure.n_atoms)
            demand(inside, f"rows of {name} belong to atoms that {structure.formula} does not have")
            pooled = first.vectors[name]
            off = np.abs(found[name].mean() - pooled[i]).max()
            demand(
                off <= _TOLERANCE * np.abs(pooled).max(initial=1),
                f"the mean of the rows of {name} is not its vector",
            )


def _doubled(structure: Structure) -> Structure:
    """The same crystal in a cell twice as long."""
    lattice = structure.lattice * np.array([[2], [1], [1]])
    half = structure.frac_coords * [0.5, 1, 1]
    return Structure(
        lattice, np.tile(structure.numbers, 2), np.concatenate([half, half + np.array([0.5, 0, 0])])
    )


def _joined(found: Sequence[Extracted]) -> Extracted:
    vectors = {name: np.concatenate([one.vectors[name] for one in found]) for name in found[0].vectors}
    return Extracted({}, np.concatenate([one.prediction for one in found]), vectors, {})


def _same(found: Extracted, first: Extracted, *, exactly: bool = False, order: slice = slice(None)) -> bool:
    """Tell whether vectors and predictions agree, to rounding or exactly."""
    pairs = [(found.vectors[name][order], first.vectors[name]) for name in first.vectors]
    pairs.append((found.prediction[order], first.prediction))
    for a, b in pairs:
        if exactly and not np.array_equal(a, b, equal_nan=True):
            return False
        largest = np.abs(b[np.isfinite(b)]).max(initial=1)
        if not np.allclose(a, b, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
            return False
    return True
