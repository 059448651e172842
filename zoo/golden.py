"""Golden predictions: what a model said where it was saved, compared with what it says where it is loaded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from core.untrusted import read_json
from core.validation import validate
from featurestore.columns import OwnColumns
from heads.intervals import LEVEL
from zoo.bundle_config import environment
from zoo.bundle_files import GOLDEN
from zoo.model import Model
from zoo.predict import Read, Reader, Reading, answered

RELATIVE = 1e-6
# Other processors and libraries round float32 otherwise: what is left of it far inside an interval is none
# of a user's business.
OF_AN_INTERVAL = 1e-3
OF_A_PROBABILITY = 1e-4
_MOST, _MOST_ATOMS = 20, 2000


def textbook_crystals(elements: Sequence[int]) -> tuple[Structure, ...]:
    """Return ten simple cubic cells of two atoms (CsCl), made up of elements: nobody's data.

    The cell's edge is 3 Å and a little more for each, so that no two are alike.
    """
    known = sorted(elements)
    pairs = [(known[i % len(known)], known[(3 * i + 1) % len(known)]) for i in range(10)]
    return tuple(
        Structure((3.0 + 0.1 * i) * np.eye(3), np.array(pair), np.outer([0, 1], [0.5, 0.5, 0.5]))
        for i, pair in enumerate(pairs)
    )


def write_golden(folder: Path, model: Model, structures: Sequence[Structure]) -> None:
    """Predict structures and write what came out; those that the model rejects are left out."""
    said = _said(model, structures) if structures else {}
    usable = [i for i, row in enumerate(said.get("value", [])) if np.isfinite(row).all()]
    kept = {name: [values[i].tolist() for i in usable] for name, values in said.items()}
    facts = {
        "level": LEVEL,
        "structures": [_as_json(structures[i]) for i in usable],
        **{name: [_or_none(row) for row in rows] for name, rows in kept.items()},
    }
    (folder / GOLDEN).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def check_golden(folder: Path, model: Model, saved_in: Mapping[str, str]) -> float:
    """Predict the golden structures anew; returns the largest difference, as a share of what is allowed.

    Raises `StrataError` where a prediction or an end of its interval differs by more than 1e-6 of it and by
    more than a thousandth of the interval's width, naming what differs between the two environments.
    """
    path = folder / GOLDEN
    structures, golden = read_golden(folder, model)
    if not structures:
        return 0.0
    worst, now = 0.0, _said(model, structures)
    scale = _allowed(golden)
    for name, expected in golden.items():
        found = now.get(name)
        if found is None or found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
            raise StrataError(
                f"{path}: its {name} are not those of a model like this one; get the bundle again"
            )
        off = np.abs(found - expected) / np.maximum(RELATIVE * np.abs(expected), scale)
        if np.isfinite(off).any():
            worst = max(worst, float(np.nanmax(off)))
        if worst > 1:
            i = int(np.argwhere(off == np.nanmax(off))[0][0])
            raise StrataError(
                f"{path}: of its structure {i} ({structures[i].formula}) this model says {name} "
                f"{found[i]} where {expected[i]} was saved. {_differences(saved_in)} "
                "Without this check: check=False in Python, --no-check on the command line"
            )
    return worst


def read_golden(folder: Path, model: Model) -> tuple[list[Structure], dict[str, np.ndarray]]:
    """Read structures and what was said of them; raises `StrataError` for what is none."""
    path = folder / GOLDEN
    facts = read_json(path)
    try:
        given = facts["structures"]
        if len(given) > _MOST or any(len(one["numbers"]) > _MOST_ATOMS for one in given):
            raise StrataError(
                f"{path}: more than {_MOST} structures, or one of more than {_MOST_ATOMS} atoms"
            )
        structures = [Structure(one["lattice"], one["numbers"], one["frac_coords"]) for one in given]
        for structure in structures:
            validate(structure, model.limits)
        names = ("value", "low", "high") if model.calibration.intervals is not None else ("value",)
        golden = {name: np.array(facts[name], dtype=np.float64) for name in names} if given else {}
    except InvalidStructure as error:
        raise StrataError(f"{path}: a structure in it cannot be used: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StrataError(f"{path} holds no golden predictions that can be read ({error})") from None
    if any(len(values) != len(structures) for values in golden.values()):
        raise StrataError(f"{path}: not as many predictions as structures")
    return structures, golden


def _allowed(golden: Mapping[str, np.ndarray]) -> np.ndarray | float:
    """Return what float32 rounding may move: a share of each interval's width, or of a probability."""
    if "low" not in golden:
        return OF_A_PROBABILITY
    width = golden["high"] - golden["low"]
    usual = np.nanmedian(width) if np.isfinite(width).any() else np.ptp(golden["value"])
    return np.where(np.isfinite(width), np.maximum(OF_AN_INTERVAL * width, 1e-12), OF_AN_INTERVAL * usual)


def _said(model: Model, structures: Sequence[Structure]) -> dict[str, np.ndarray]:
    """Return value, low and high (n,) of structures, or (n, classes) probabilities as value.

    A user's own columns are at their mean over the training rows.
    """
    own = None
    names = [str(i) for i in range(len(structures))]
    for name, reads in model.sources.items():
        if reads.columns:
            mean = model.calibration.domain.spaces[name].mean.astype(np.float32)
            own = OwnColumns(tuple(names), reads.columns, np.tile(mean, (len(structures), 1)))
    read = [Read("", name, one) for name, one in zip(names, structures, strict=True)]
    frame = answered(model, Reader(Reading.of(model, own)).run(read))
    if model.card.classes:
        return {"value": frame[[f"p_{name}" for name in model.card.classes]].to_numpy(np.float64)}
    columns = ("value", "low", "high") if model.calibration.intervals is not None else ("value",)
    return {name: frame[name].to_numpy(np.float64) for name in columns}


def _differences(saved_in: Mapping[str, str]) -> str:
    here = environment()
    changed = [
        f"{name} {saved_in.get(name, 'none')} there, {here.get(name, 'none')} here"
        for name in sorted(saved_in.keys() | here.keys())
        if saved_in.get(name) != here.get(name)
    ]
    if not changed:
        return "The versions are the same in both places, so that the bundle or the installation is damaged."
    return f"Different are: {'; '.join(changed)}."


def _as_json(structure: Structure) -> dict[str, Any]:
    return {
        "lattice": structure.lattice.tolist(),
        "numbers": structure.numbers.tolist(),
        "frac_coords": structure.frac_coords.tolist(),
    }


def _or_none(row: Any) -> Any:
    return row if isinstance(row, list) or np.isfinite(row) else None
