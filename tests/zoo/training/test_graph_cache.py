"""The cache of quotient graphs: the same graphs, made once, and made again where a file is damaged."""

import numpy as np
import pytest

from core.composition import Composition
from core.structure import Structure
from tests.training import metals
from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED
from zoo.backbones.alignn.quotient import Quotient
from zoo.training.graph_cache import GraphCache


@pytest.fixture
def structures() -> dict[str, Structure]:
    return {structure.structure_id: structure for structure in metals()}


def never(_ids):
    raise AssertionError("asked for structures of graphs that are there")


def load(folder, structures, ids=None, settings=INVARIANT, **more):
    cache = GraphCache(folder, settings, **more)
    cache.make(ids or list(structures), lambda names: [structures[name] for name in names], workers=0)
    return cache


def test_graphs_are_those_that_prepare_makes(tmp_path, structures):
    load(tmp_path, structures)
    graphs = GraphCache(tmp_path, INVARIANT).load(list(structures), never)
    for i, structure in enumerate(structures.values()):
        fresh = prepare(structure, INVARIANT, True, 10**6).quotient
        for name in Quotient._fields:
            np.testing.assert_allclose(
                getattr(graphs[i], name), getattr(fresh, name), rtol=1e-6, err_msg=name
            )
        assert graphs.costs[i] == len(fresh.cosine)
        assert graphs.atoms[i] == structure.n_atoms


def test_only_what_is_missing_is_made(tmp_path, structures):
    ids = list(structures)
    load(tmp_path, structures, ids[:5])
    asked = []
    cache = GraphCache(tmp_path, INVARIANT)
    graphs = cache.load(
        [*ids[::-1], ids[0]],
        lambda names: asked.extend(names) or [structures[name] for name in names],
        workers=0,
    )
    assert sorted(asked) == sorted(ids[5:])
    assert len(graphs) == len(ids) + 1
    assert np.array_equal(graphs[-1].length, graphs[len(ids) - 1].length)


def test_other_graph_settings_have_graphs_of_their_own(tmp_path, structures):
    load(tmp_path, structures)
    assert GraphCache(tmp_path, PUBLISHED).folder != GraphCache(tmp_path, INVARIANT).folder
    with pytest.raises(AssertionError, match="asked for structures"):
        GraphCache(tmp_path, PUBLISHED).load(list(structures), never)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_made_again(tmp_path, structures, damage):
    (path,) = load(tmp_path, structures).folder.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-40] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-7], "empty": b""}[damage])
    with pytest.raises(AssertionError, match="asked for structures"):
        GraphCache(tmp_path, INVARIANT).load(list(structures), never)
    graphs = load(tmp_path, structures).load(list(structures), never)
    assert len(graphs) == len(structures)


def test_too_large_structures_are_told_once(tmp_path, structures):
    cache = load(tmp_path, structures, max_angles=300)
    assert cache.rejected
    assert all("too_large" in reason for reason in cache.rejected.values())
    again = GraphCache(tmp_path, INVARIANT, max_angles=300)
    again.make(list(structures), never)
    assert again.rejected == cache.rejected


def test_workers_make_the_same(tmp_path, structures):
    load(tmp_path / "a", structures)
    cache = GraphCache(tmp_path / "b", INVARIANT)
    graphs = cache.load(list(structures), lambda names: [structures[name] for name in names], workers=1)
    for mine, theirs in zip(
        graphs, GraphCache(tmp_path / "a", INVARIANT).load(list(structures), never), strict=True
    ):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_composition_has_no_graph(tmp_path, structures):
    salt = Composition([11, 17])
    cache = load(tmp_path, structures | {"salt": salt})
    assert cache.rejected == {
        "salt": "no_structure: only the composition ClNa is known; training needs atomic positions"
    }
