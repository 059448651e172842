"""The contract: a toy keeps it, and each point of it fails for a toy that breaks that point."""

import numpy as np
import pytest

from core.errors import StrataError
from core.structure import Structure
from tests.toys.backbones.toy import Toy, ToyGraph, ToyRunner
from zoo.backbones.base import Checkpoint, Output, Rows, Runner
from zoo.backbones.check import check_backbone, examples
from zoo.backbones.engine import Engine

ROOMY = ToyGraph(max_atoms=10)


class Keeping(Toy):
    """The toy as it is, with room for the doubled cells that the check asks for."""

    runner = f"{__name__}:KeepingRunner"


class KeepingRunner(ToyRunner):
    pass


def two(*checkpoints: tuple[str, int, int]) -> property:
    return property(
        lambda _: tuple(Checkpoint(name, "cell", depth, width) for name, depth, width in checkpoints)
    )


class Nameless(Keeping):
    checkpoints = property(lambda _: ())


class OneNameTwice(Keeping):
    checkpoints = two(("cell_0", 0, 3), ("cell_0", 1, 3))


class FallingDepths(Keeping):
    checkpoints = two(("cell_1", 1, 5), ("cell_0", 0, 3))


class RejectsAll(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        self.graph = ToyGraph(max_atoms=1)
        return super().prepare(structure)


class Alters(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        found = super().prepare(structure)
        object.__setattr__(
            structure,
            "frac_coords",
            structure.frac_coords + 0.25 * np.eye(structure.n_atoms, 3),
        )
        return found


class OrderOfAtoms(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        found = super().prepare(structure)
        return np.concatenate([found[:1], structure.numbers * (1 + np.arange(structure.n_atoms))])


class Orientation(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        found = super().prepare(structure)
        found[0] += structure.lattice[0, 0]
        return found


class Cell(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        found = super().prepare(structure)
        found[0] += structure.n_atoms
        return found


class RaisesForHeavy(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        if structure.numbers.max() > 90:
            raise KeyError("no such element")
        return super().prepare(structure)


class NaNForLone(Keeping):
    def prepare(self, structure: Structure) -> np.ndarray:
        found = super().prepare(structure)
        if found[0] > 1000:
            found[0] = np.nan
        return found


def changed(change):
    """Return a runner whose output is passed through `change(output, prepared)`."""

    class Changed(ToyRunner):
        def run(self, prepared, checkpoints) -> Output:
            return change(super().run(prepared, checkpoints), prepared)

    return Changed


def vectors(change):
    return changed(lambda output, prepared: output._replace(vectors=change(output.vectors, prepared)))


def each(change):
    return vectors(lambda found, prepared: {name: change(values, prepared) for name, values in found.items()})


def infinite(values, _prepared):
    values = values.copy()
    values[0, 0] = np.inf
    return values


class Drifting(ToyRunner):
    """Another result at every call."""

    calls = 0

    def run(self, prepared, checkpoints) -> Output:
        Drifting.calls += 1
        output = super().run(prepared, checkpoints)
        return output._replace(vectors={k: v + Drifting.calls for k, v in output.vectors.items()})


ALL = {"cell_0": np.zeros((5, 3), np.float32), "cell_1": np.zeros((5, 5), np.float32)}


def counting(**counts):
    return changed(lambda output, prepared: output._replace(counts=counts))


RUNNERS = {
    "one column": (each(lambda values, _: values[:, :1]), r"cell_0 has shape \(5, 1\), not \(5, 3\)"),
    "double": (each(lambda values, _: values.astype(float)), "cell_0 is float64, not float32"),
    "left out": (vectors(lambda found, _: {"cell_0": found["cell_0"]}), r"it gives vectors of \['cell_0'\]"),
    "always all": (
        changed(lambda output, _: output._replace(vectors={**ALL, **output.vectors})),
        "a choice of checkpoints is not kept",
    ),
    "two predictions": (
        changed(
            lambda output, prepared: output._replace(prediction=np.zeros((len(prepared), 2), np.float32))
        ),
        r"its prediction has shape \(5, 2\), not \(5,\)",
    ),
    "no count": (counting(), r"it counts \[\]"),
    "other count": (
        counting(n_sites=np.zeros(5, int), n_bonds=np.zeros(5, int)),
        r"it counts \['n_bonds', 'n_sites'\]",
    ),
    "broken count": (counting(n_sites=np.full(5, 0.5)), "n_sites is not a whole number"),
    "one count": (counting(n_sites=np.array(5)), "n_sites is not a whole number"),
    "infinite": (each(infinite), "cell_0 holds NaN or infinite numbers"),
    "drifting": (Drifting, "a second run gives other vectors"),
    "neighbours": (
        each(lambda values, _: (values - values.mean(axis=0)).astype(np.float32)),
        "a batch gives other vectors than one at a time|results do not keep the order",
    ),
    "order": (
        each(lambda values, _: values[::-1]),
        "a batch gives other vectors|results do not keep the order",
    ),
}


def engine_of(backbone: type[Toy], runner: type[ToyRunner] = ToyRunner) -> Engine:
    """Return an engine with a backbone's class and a runner, past the registry."""
    made = Engine(Keeping(graph=ROOMY), {})
    made.backbone = backbone(graph=ROOMY)
    made.runner = runner(made.backbone, {}, made.device)
    return made


def test_the_toy_keeps_the_contract():
    check_backbone(engine_of(Keeping))


def test_the_examples_are_crystals_that_are_apart():
    found = examples()
    assert len({s.structure_id for s in found}) == len(found)
    assert len({s.formula for s in found}) == len(found)


BACKBONES = [
    (Nameless, "checkpoints need names"),
    (OneNameTwice, "checkpoints need names, each another one"),
    (FallingDepths, r"the depths of cell do not rise: \[1, 0\]"),
    (RejectsAll, "it rejects ClNa"),
    (Alters, "it alters the structures"),
    (OrderOfAtoms, "depend on the order of the atoms"),
    (Orientation, "depend on the orientation"),
    (Cell, "depend on the choice of cell"),
    (RaisesForHeavy, "Fm raises KeyError: 'no such element'"),
    (NaNForLone, "He is neither taken nor rejected"),
]


@pytest.mark.parametrize(("backbone", "message"), BACKBONES, ids=lambda v: getattr(v, "__name__", ""))
def test_each_point_fails_for_a_backbone_that_breaks_it(backbone, message):
    with pytest.raises(StrataError, match=rf"backbone toy breaks the contract: .*({message})"):
        check_backbone(engine_of(backbone))


@pytest.mark.parametrize("name", RUNNERS)
def test_each_point_fails_for_a_runner_that_breaks_it(name):
    runner, message = RUNNERS[name]
    with pytest.raises(StrataError, match=rf"backbone toy breaks the contract: .*({message})"):
        check_backbone(engine_of(Keeping, runner))


@pytest.mark.parametrize(("backbone", "claimed"), [(Orientation, {"cell"}), (Cell, {"rotation"})])
def test_what_is_not_claimed_is_not_asked(backbone, claimed):
    class Modest(backbone):
        invariances = property(lambda _: frozenset(claimed))

    if backbone is Orientation:  # its vectors know the lattice, so the doubled cell is another one too
        Modest.invariances = property(lambda _: frozenset())
    check_backbone(engine_of(Modest))


class Sited(Keeping):
    """The toy with a place for atoms: their number, and what their cell says of all of them."""

    offers_rows = True
    checkpoints = property(lambda _: (Checkpoint("site_0", "site", 0, 2),))

    def prepare(self, structure: Structure) -> np.ndarray:
        super().prepare(structure)
        return structure.numbers.astype(np.float32)


class SitedRunner(ToyRunner):
    def run(self, prepared, checkpoints) -> Output:
        vectors = np.stack([site_rows(numbers).mean(axis=0) for numbers in prepared])
        nothing = np.full(len(prepared), np.nan, np.float32)
        counts = np.array([len(numbers) for numbers in prepared])
        return Output(dict.fromkeys(checkpoints, vectors), nothing, {"n_sites": counts})

    def rows(self, prepared, checkpoints) -> dict[str, Rows]:
        atoms = np.arange(len(prepared))[:, None]
        return dict.fromkeys(checkpoints, Rows(site_rows(prepared), atoms))


def site_rows(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers / 10, np.sqrt(numbers)], axis=1).astype(np.float32)


def rows(change):
    """Return a runner whose rows are passed through `change(rows)`."""

    class Changed(SitedRunner):
        def rows(self, prepared, checkpoints) -> dict[str, Rows]:
            return {name: change(found) for name, found in super().rows(prepared, checkpoints).items()}

    return Changed


class Renaming(SitedRunner):
    def rows(self, prepared, checkpoints) -> dict[str, Rows]:
        return {f"my_{name}": found for name, found in super().rows(prepared, checkpoints).items()}


ROWS = {
    "sum": (
        rows(lambda r: r._replace(vectors=2 * r.vectors)),
        "the mean of the rows of site_0 is not its vector",
    ),
    "narrow": (rows(lambda r: r._replace(vectors=r.vectors[:, :1])), r"rows of site_0 have shape \(2, 1\)"),
    "double": (rows(lambda r: r._replace(vectors=r.vectors.astype(float))), "rows of site_0 are float64"),
    "counted from one": (rows(lambda r: r._replace(atoms=r.atoms + 1)), "atoms that ClNa does not have"),
    "before the first": (rows(lambda r: r._replace(atoms=r.atoms - 1)), "atoms that ClNa does not have"),
    "flat": (rows(lambda r: r._replace(atoms=r.atoms[:, 0])), "atoms of site_0 are no whole numbers"),
    "of nothing": (rows(lambda r: r._replace(atoms=r.atoms[:, :0])), "atoms of site_0 are no whole numbers"),
    "halves": (rows(lambda r: r._replace(atoms=r.atoms / 2)), "atoms of site_0 are no whole numbers"),
    "one too few": (rows(lambda r: r._replace(atoms=r.atoms[1:])), "atoms of site_0 are no whole numbers"),
    "other names": (Renaming, r"it gives rows of \['my_site_0'\]"),
    "not there": (
        type("NoRows", (SitedRunner,), {"rows": Runner.rows}),
        "offers_rows must be True where its runner has a method rows",
    ),
}


def test_rows_whose_mean_is_the_vector_keep_the_contract():
    check_backbone(engine_of(Sited, SitedRunner))


@pytest.mark.parametrize("name", ROWS)
def test_each_point_of_rows_fails_for_a_runner_that_breaks_it(name):
    runner, message = ROWS[name]
    with pytest.raises(StrataError, match=rf"backbone toy breaks the contract: .*({message})"):
        check_backbone(engine_of(Sited, runner))


def test_rows_that_are_given_but_not_declared_are_told():
    class Silent(Sited):
        offers_rows = False

    with pytest.raises(StrataError, match="offers_rows must be True where its runner has a method rows"):
        check_backbone(engine_of(Silent, SitedRunner))
