"""LightGBM's text of a model, read by ourselves first.

Its own reader ends the process, or never returns, where trees have circles or indices that lead outside.
"""

import math
import re
from collections.abc import Iterator

from core.errors import StrataError

_OBJECTIVE = re.compile(r"[a-z][a-z0-9_]{0,40}( [a-z_]{1,40}:[0-9.e+-]{1,40}){0,5}")
_PER_SPLIT = {  # what a tree says of its splits, and whether these are whole numbers
    "split_feature": True, "split_gain": False, "threshold": False, "decision_type": True, "left_child": True,
    "right_child": True, "internal_value": False, "internal_weight": False, "internal_count": True,
}  # fmt: skip
_PER_LEAF = {"leaf_value": False, "leaf_weight": False, "leaf_count": True}
_NEEDED = {"split_feature", "threshold", "decision_type", "left_child", "right_child", "leaf_value"}
_MOST_LEAVES = 1_000_000
_MOST_CLASSES = 10_000


def checked(text: str, width: int, where: str) -> str:
    """Return a text that says the same as LightGBM's, written anew from numbers that were checked.

    width: columns that the trees read. Raises `StrataError` naming `where` and what is wrong: trees of
    categories and of linear leaves, which no head here grows, are refused too.
    """
    try:
        return _checked(text, width)
    except (ValueError, KeyError, IndexError) as error:
        raise StrataError(f"{where} holds no trees that can be used ({error}); fit the head again") from None


def _checked(text: str, width: int) -> str:
    head, *bodies = text.partition("\nend of trees")[0].split("\nTree=")
    facts = _facts(head.splitlines())
    classes, per_round = int(facts["num_class"]), int(facts["num_tree_per_iteration"])
    if not 1 <= classes <= _MOST_CLASSES or per_round != classes or len(bodies) % per_round:
        raise ValueError(f"{len(bodies)} trees, {per_round} a round, of {classes} classes")
    if int(facts["max_feature_idx"]) != width - 1:
        raise ValueError(f"they are for {int(facts['max_feature_idx']) + 1} columns, not {width}")
    if not _OBJECTIVE.fullmatch(facts["objective"]):
        raise ValueError("its objective is none")
    trees = [f"Tree={i}\n" + "\n".join(_tree(body, width)) + "\n\n\n" for i, body in enumerate(bodies)]
    lines = [
        "tree",
        "version=v4",
        f"num_class={classes}",
        f"num_tree_per_iteration={per_round}",
        "label_index=0",
        f"max_feature_idx={width - 1}",
        f"objective={facts['objective']}",
        "feature_names=" + " ".join(f"Column_{i}" for i in range(width)),
        "feature_infos=" + " ".join(["none"] * width),
        "tree_sizes=" + " ".join(str(len(tree)) for tree in trees),
    ]
    sections = ("end of trees", "feature_importances:", "parameters:", "end of parameters")
    end = "\n\n".join((*sections, "pandas_categorical:null\n"))
    return "\n".join(lines) + "\n\n" + "".join(trees) + end


def _facts(lines: list[str]) -> dict[str, str]:
    return {key: value for key, mark, value in (line.partition("=") for line in lines) if mark}


def _tree(body: str, width: int) -> Iterator[str]:
    facts = _facts(body.splitlines()[1:])
    leaves = int(facts["num_leaves"])
    if not 1 <= leaves <= _MOST_LEAVES:
        raise ValueError(f"a tree of {leaves} leaves")
    if int(facts["num_cat"]) or int(facts.get("is_linear", 0)):
        raise ValueError("a tree of categories or linear leaves")
    found = {}
    for names, count in ((_PER_SPLIT, leaves - 1), (_PER_LEAF, leaves)):
        for name, whole in names.items():
            if (leaves > 1 and name in _NEEDED) or name == "leaf_value" or facts.get(name, "").strip():
                found[name] = _numbers(facts[name], count, name, whole=whole)
    if leaves > 1:
        _check_splits(found, leaves, width)
    yield f"num_leaves={leaves}"
    yield "num_cat=0"
    for name, values in found.items():
        yield f"{name}={' '.join(values)}"
    yield "is_linear=0"
    yield f"shrinkage={_numbers(facts.get('shrinkage', '1'), 1, 'shrinkage', whole=False)[0]}"


def _numbers(text: str, count: int, name: str, *, whole: bool) -> list[str]:
    """Return `count` numbers as they stand, so that none is rounded."""
    values = text.split()
    if len(values) != count:
        raise ValueError(f"{len(values)} values of {name}, expected {count}")
    for value in values:
        if "_" in value or not math.isfinite(int(value) if whole else float(value)):
            raise ValueError(f"{value[:40]} in {name}")
    return values


def _check_splits(found: dict[str, list[str]], leaves: int, width: int) -> None:
    """Raise `ValueError` unless every split and leaf depends on exactly one split that comes before it."""
    if not all(0 <= int(column) < width for column in found["split_feature"]):
        raise ValueError("a split by a column that is none")
    if any(int(kind) not in range(0, 16, 2) for kind in found["decision_type"]):
        raise ValueError("a split of another kind than by a threshold")
    hanging = set()
    for side in ("left_child", "right_child"):
        for split, child in enumerate(map(int, found[side])):
            if child >= 0 and not split < child < leaves - 1:
                raise ValueError(f"split {split} leads to {child}")
            hanging.add(child)
    if hanging != {*range(1, leaves - 1), *range(-leaves, 0)}:
        raise ValueError("a tree whose parts do not hang together")
