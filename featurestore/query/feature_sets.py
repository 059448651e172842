"""The 38 named feature sets, in the paper's order: which checkpoints lie side by side."""

from core.errors import unknown
from featurestore.tables.schema import CHECKPOINTS, DEPTHS, WIDTH


def _together(kinds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the sets that join `kinds` at each depth that all of them have."""
    depths = range(min(DEPTHS[kind] for kind in kinds))
    name = "_".join(kinds)
    return {f"{name}_{depth}": tuple(f"{kind}_{depth}" for kind in kinds) for depth in depths}


FEATURE_SETS: dict[str, tuple[str, ...]] = {
    **{checkpoint.name: (checkpoint.name,) for checkpoint in CHECKPOINTS},
    **_together(("atom", "bond")),
    **_together(("atom", "bond", "angle")),
    "atom_bond_angle_last": tuple(f"{kind}_{depths - 1}" for kind, depths in DEPTHS.items()),
}


def checkpoints_of(feature_set: str) -> tuple[str, ...]:
    """Return the columns of a feature set, in order; an unknown name raises naming the nearest.

    >>> checkpoints_of("atom_bond_angle_last")
    ('atom_8', 'bond_8', 'angle_4')
    """
    if feature_set not in FEATURE_SETS:
        raise unknown("feature set", feature_set, FEATURE_SETS)
    return FEATURE_SETS[feature_set]


def width_of(feature_set: str) -> int:
    """Return how many numbers a feature set gives a structure.

    >>> width_of("atom_bond_4")
    512
    """
    return WIDTH * len(checkpoints_of(feature_set))
