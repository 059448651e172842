import pytest

from core.errors import StrataError
from featurestore.query.feature_sets import kind_of_set, named_sets, one_checkpoint, resolve
from featurestore.query.sources import Source
from featurestore.tables.schema import Checkpoint
from zoo.backbones.alignn.architecture import Architecture

ALIGNN = Architecture().checkpoints
SMALL = (
    Checkpoint("site_0", "site", 0, 4),
    Checkpoint("site_1", "site", 1, 4),
    Checkpoint("site_2", "site", 2, 8),
    Checkpoint("pair_0", "pair", 0, 6),
    Checkpoint("pair_1", "pair", 1, 6),
)
ONE_KIND = tuple(Checkpoint(f"node_{depth}", "node", depth, 16) for depth in range(3))
SOURCES = {
    name: Source(name, f"id-{name}", "made-up", name == "big", (), checkpoints)
    for name, checkpoints in (("big", ALIGNN), ("small", SMALL), ("plain", ONE_KIND))
}


def ask(text, default="big"):
    return resolve(text, SOURCES, default)


def names(found):
    return [block.checkpoint for block in found.blocks]


def test_those_of_alignn_are_the_papers_38_in_its_order():
    found = list(named_sets(ALIGNN))
    assert found == [
        *(f"atom_{depth}" for depth in range(9)),
        *(f"bond_{depth}" for depth in range(9)),
        *(f"angle_{depth}" for depth in range(5)),
        *(f"atom_bond_{depth}" for depth in range(9)),
        *(f"atom_bond_angle_{depth}" for depth in range(5)),
        "atom_bond_angle_last",
    ]
    assert len(found) == 38


@pytest.mark.parametrize(
    ("name", "checkpoints"),
    [
        ("atom_3", ["atom_3"]),
        ("atom_bond_8", ["atom_8", "bond_8"]),
        ("atom_bond_angle_3", ["atom_3", "bond_3", "angle_3"]),
        ("atom_bond_angle_last", ["atom_8", "bond_8", "angle_4"]),
        ("last", ["atom_8", "bond_8", "angle_4"]),
        ("all", [checkpoint.name for checkpoint in ALIGNN]),
    ],
)
def test_what_lies_side_by_side(name, checkpoints):
    found = ask(name)
    assert names(found) == checkpoints
    assert found.width == 256 * len(checkpoints)
    assert found.sources == ("big",)


def test_words_that_mean_the_same_have_one_name():
    assert ask("last") == ask("big/atom_bond_angle_last") == ask("atom_bond_angle_last")
    assert ask("last").name == "atom_bond_angle_last"
    assert ask("plain/last").name == "node_2"


def test_sets_of_a_network_of_two_kinds_and_several_widths():
    assert list(named_sets(SMALL))[5:] == ["site_pair_0", "site_pair_1", "site_pair_last"]
    found = ask("small/last")
    assert [(block.checkpoint, block.start, block.stop) for block in found.blocks] == [
        ("site_2", 0, 8),
        ("pair_1", 8, 14),
    ]
    assert ask("all", "small").width == 4 + 4 + 8 + 6 + 6


def test_a_network_of_one_kind_has_its_checkpoints_alone():
    assert list(named_sets(ONE_KIND)) == ["node_0", "node_1", "node_2"]
    assert names(ask("plain/last")) == ["node_2"]
    assert names(ask("plain/all")) == ["node_0", "node_1", "node_2"]


def test_several_are_joined_by_plus():
    found = ask("atom_8 + small/last")
    assert [(b.source, b.checkpoint, b.kind, b.depth, b.start, b.stop) for b in found.blocks] == [
        ("big", "atom_8", "atom", 8, 0, 256),
        ("small", "site_2", "site", 2, 256, 264),
        ("small", "pair_1", "pair", 1, 264, 270),
    ]
    assert found.name == "big/atom_8+small/site_pair_last"
    assert (found.source_model, found.extraction_id) == ("big+small", "id-big+id-small")
    assert [block.checkpoint for block in found.of("small")] == ["site_2", "pair_1"]
    assert ask("atom_8+bond_2").name == "atom_8+bond_2"
    assert ask(found.name).blocks == found.blocks


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "atom_bond_angle_lst",
            "unknown feature set 'atom_bond_angle_lst'.*did you mean 'atom_bond_angle_last'",
        ),
        ("small/site_9", "source model small; did you mean 'site_"),
        ("smal/last", "unknown source model 'smal'.*did you mean 'small'"),
        ("atom_8+", "unknown feature set ''"),
        ("atom_8+last", "big/atom_8 stands in it twice"),
        ("small/pair_1+small/all", "small/pair_1 stands in it twice"),
    ],
)
def test_what_cannot_be_is_named(text, says):
    with pytest.raises(StrataError, match=says):
        ask(text)


def test_without_a_default_the_source_model_must_be_named():
    with pytest.raises(StrataError, match="unknown source model 'none'"):
        resolve("last", SOURCES)
    assert resolve("plain/last", SOURCES).width == 16


def test_one_checkpoint_is_by_default_the_deepest_of_the_first_kind():
    assert one_checkpoint(None, SOURCES, "big").name == "atom_8"
    assert one_checkpoint("small/", SOURCES, "big").name == "site_2"
    assert one_checkpoint("small/pair_0", SOURCES, "big").width == 6
    with pytest.raises(StrataError, match="several checkpoints side by side; name one, such as site_2"):
        one_checkpoint("small/last", SOURCES, "big")


def test_what_a_set_is_made_of():
    kinds = {kind_of_set(name) for name in named_sets(ALIGNN)}
    assert kinds == {"atom", "bond", "angle", "atom_bond", "atom_bond_angle", "atom_bond_angle_last"}
