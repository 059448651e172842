"""Which members and which rule make the best committee? By folds of train + validation alone.

    python bench/committees.py STORE

STORE has the datasets of `TARGETS` with vectors by the three source models and the split `random` with seed
0 (`strata ingest`, `extract`, `split`). Heads are cross-validated on each feature set (runs that are there
are not fitted again); rules are compared on the out-of-fold predictions, with weights that depend on four
fifths of the rows for the other fifth. No target of a test part is read. Writes bench/results/committees.md.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import featurestore
from core.params import parse
from featurestore import SplitKey
from heads import averaging, committee
from heads.fit import fit
from heads.summary import Run

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench/results/committees.md"
SPLIT = SplitKey("random", 0, 0)
# The frozen list but for three energies, whose labels source models have seen.
TARGETS = {
    "dielectric_constant": ["band_gap", "n", "poly_electronic", "poly_total", "e_total_max"],
    "piezoelectric_tensor": ["eij_max", "piezoelectric_norm"],
    "jarvis_3d": [
        "bulk_modulus", "shear_modulus", "superconducting_tc", "heat_capacity", "max_electric_field_gradient",
        "epsilon_x", "epsilon_x_mbj", "seebeck_n", "power_factor_n", "spillage",
    ],
}  # fmt: skip
EFORM, FORCES, CHGNET = "alignn_mp_eform/last", "alignn_ff/atom_bond_angle_4+alignn_ff/atom_8", "chgnet/all"
JOINED = f"{EFORM}+{FORCES}+{CHGNET}"
SETS = {
    "eform": EFORM,
    "eform all": "alignn_mp_eform/all",
    "forces": FORCES,
    "forces last": "alignn_ff/last",
    "chgnet": CHGNET,
    "chgnet last": "chgnet/last",
    "joined": JOINED,
}
MEMBERS = {  # of a committee: head, then sets
    "svr on eform": [("svr", "eform")],
    "svr on joined": [("svr", "joined")],
    "svr on eform, forces, chgnet": [("svr", name) for name in ("eform", "forces", "chgnet")],
    "the same and joined": [("svr", name) for name in ("eform", "forces", "chgnet", "joined")],
    "the same, ridge too": [
        (head, name) for head in ("svr", "ridge") for name in ("eform", "forces", "chgnet", "joined")
    ],
    "svr on the last of each": [("svr", name) for name in ("eform", "forces last", "chgnet last")],
    "svr on all seven sets": [("svr", name) for name in SETS],
    "svr on all seven, ridge on four": [
        *[("svr", name) for name in SETS],
        *[("ridge", name) for name in ("eform", "forces", "chgnet", "joined")],
    ],
}
BEST = "the best alone"
Table = dict[tuple[str, str], pd.Series]


def best_alone(P: np.ndarray, y: np.ndarray, sources: Sequence[str]) -> np.ndarray:  # noqa: ARG001 - a rule's
    """Put all weight on the member with the lowest mean absolute error."""
    return np.eye(P.shape[1])[np.abs(P - y[:, None]).mean(axis=0).argmin()]


def main(root: Path) -> None:
    """Cross-validate, compare and write the tables."""
    averaging.RULES[BEST] = best_alone
    alone: dict[str, dict[tuple[str, str], float]] = {}
    together: dict[str, dict[tuple[str, str], float]] = {}
    for dataset, names in TARGETS.items():
        runs = cross_validated(root, dataset)
        for name in names:
            mine = {key: run for key, run in runs.items() if key[0] == name}
            alone[name] = {key[1:]: float(run.cv_mae or np.nan) for key, run in mine.items()}
            together[name] = compared(root, dataset, name, {key[1:]: run for key, run in mine.items()})
    write(pd.DataFrame(alone).T, pd.DataFrame(together).T)


def cross_validated(root: Path, dataset: str) -> dict[tuple[str, str, str], Run]:
    """Return runs by property, head and set."""
    heads = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["heads"]
    sources = ["alignn_mp_eform", "alignn_ff", "chgnet"]
    found = {}
    for head, sets in (("svr", list(SETS)), ("ridge", ["eform", "forces", "chgnet", "joined"])):
        for name in sets:
            asked = {"heads": [head], "feature_sets": [SETS[name]], "properties": TARGETS}
            asked |= {"choose_by": "cv", "refit": True, "repeats": 1}
            params = parse({"extract": {"source_models": sources}, "fit": asked, "heads": heads})
            for run in fit(dataset, params, root).runs:
                if run.split == SPLIT:
                    found[run.property, head, name] = run
    return found


def compared(
    root: Path, dataset: str, name: str, runs: Mapping[tuple[str, str], Run]
) -> dict[tuple[str, str], float]:
    """Return the mean absolute error of every choice of members under every rule."""
    store = featurestore.open(root)
    table = committee._predictions(store, [run.run_id for run in runs.values()])["oof"]
    y = committee._known(store, dataset, name, SPLIT).loc[table.index].to_numpy()
    errors = {}
    for members, keys in MEMBERS.items():
        P = table[[runs[key].run_id for key in keys]].to_numpy()
        sources = [SETS[of].split("/")[0] if of != "joined" else of for _, of in keys]
        for rule in averaging.RULES:
            values = averaging.cross_fitted(rule, P, y, sources, np.arange(len(y)))
            errors[members, rule] = float(np.abs(values - y).mean())
    return errors


def write(alone: pd.DataFrame, together: pd.DataFrame) -> None:
    """bench/results/committees.md."""
    first = ("svr on all seven, ridge on four", BEST)
    ratios = together.div(together[first], axis=0)
    mean = np.exp(np.log(ratios).mean())
    rules = [BEST, "mean", "greedy", "stack"]
    own = np.exp(np.log(alone.div(alone["svr", "eform"], axis=0)).mean())
    lines = [
        "# Members and rules of a committee, by inner folds",
        "",
        "`python bench/committees.py STORE`: 17 targets of `dielectric_constant`, `piezoelectric_tensor`",
        "and `jarvis_3d` (892 of its crystals), split `random` with seed 0, five folds of train +",
        "validation, once. No test part was read.",
        "",
        "| word | feature set |",
        "| --- | --- |",
        *[f"| {name} | `{text}` |" for name, text in SETS.items() if name != "joined"],
        "| joined | eform, forces and chgnet side by side |",
        "",
        "## One run alone",
        "Mean absolute error of the out-of-fold predictions over that of `svr` on eform, geometric mean.",
        "",
        "| head | set | ratio |",
        "| --- | --- | ---: |",
        *[f"| {head} | {name} | {value:.3f} |" for (head, name), value in own.sort_values().items()],
        "",
        "## Committees",
        "Mean absolute error over that of the one run which the folds call best among all eleven. Weights",
        "and choices for a fifth of the rows depend on the other four fifths.",
        "",
        "| members | " + " | ".join(rules) + " |",
        "| --- |" + " ---: |" * len(rules),
        *[
            f"| {members} | " + " | ".join(f"{mean[members, rule]:.3f}" for rule in rules) + " |"
            for members in MEMBERS
        ],
        "",
        "## By target",
        "",
        "| target | best run | its error | mean | greedy | stack |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in together.index:
        head, of = alone.loc[name].idxmin()
        cells = [f"{ratios.loc[name, (first[0], rule)]:.3f}" for rule in rules[1:]]
        lines.append(f"| {name} | {head} on {of} | {alone.loc[name].min():.4g} | " + " | ".join(cells) + " |")
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
