"""Tables 2 to 6 of the paper: Base, scratch and transfer, the change in per cent, and which method won.

Transfer is whatever has the lowest validation MAE among the heads and the fine-tuned network. Targets without
networks of their own are compared with Base alone.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from core.params import Params
from etl.cards import list_cards, load_card
from evaluation.experiments.frames import compare, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.workspace import Workspace

NAME = "transfer"
BY = ["dataset", "property", "scheme"]


_kept: dict[tuple[str, Path, int], Result] = {}  # the last result of this process


def run(params: Params, store_root: Path, _out: Path) -> Result:
    """Train, fit, choose, look, and lay the methods side by side.

    What this process made before with the same settings, from a store that has not changed since, is
    returned.
    """
    workspace = Workspace(NAME, params, params.experiments.transfer, store_root)
    settings = params.model_dump_json()
    key = settings, workspace.root.resolve(), workspace.version
    if key not in _kept:
        result = _make(params, workspace)
        _kept.clear()
        _kept[settings, workspace.root.resolve(), workspace.version] = result
        return result
    return _kept[key]


def _make(params: Params, workspace: Workspace) -> Result:
    section = params.experiments.transfer
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    table = compare(looks, BY, params.evaluate.bootstrap, params.evaluate.seed)
    groups = {name: group_of(name) for name in table["dataset"].unique()}
    table.insert(0, "group", table["dataset"].map(groups))
    tables = {"table": table, "validation": validation(runs), "scores": scores_of(looks)}
    losses = training_losses(runs, workspace.root)
    if len(losses):
        tables["training"] = losses
    return Result(
        NAME,
        tables,
        metrics=headline(table),
        settings=section.model_dump(mode="json"),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )


def group_of(dataset: str) -> str:
    """Return the heading a dataset stands under: material class and origin of its values.

    >>> group_of("emt_alloys"), group_of("jarvis_2d")
    ('3D, computed', '2D, computed')
    """
    if dataset not in {card.name for card in list_cards()}:
        return "own data"
    card = load_card(dataset)
    origins = sorted({prop.origin for prop in card.properties.values()})
    return f"{card.material_class}, {' and '.join(origins)}"


def validation(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every method's mean validation MAE over the splits of a target: what the choice saw."""
    method = runs["method"].where(runs["method"] != "features", runs["head"])
    named = runs.assign(method=method)
    by = ["dataset", "property", "unit", "scheme", "method"]
    table = named.groupby([*by, "seed", "fold"])["val_mae"].min().groupby(by)
    return table.agg(val_mae="mean", splits="size").reset_index()


def training_losses(runs: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Lay each network's training MAE beside Base's on the same split: did it learn at all?

    `train_mae` is that of the kept network, of the best epoch by validation; `last_epoch_mae` is where
    the training loss ended.
    """
    base = runs[runs["method"] == "base"].set_index(["dataset", "property", "scheme", "seed", "fold"])
    rows = []
    for run_ in runs[runs["method"].isin(["scratch", "finetune"])].to_dict("records"):
        place = tuple(run_[name] for name in base.index.names)
        curve = pd.read_csv(root / run_["model_path"] / f"{run_['property']}.csv")
        rows.append(
            {name: run_[name] for name in (*base.index.names, "method", "unit", "train_mae", "val_mae")}
            | {
                "base_train_mae": base.loc[place, "train_mae"],
                "last_epoch_mae": curve["train"].iloc[-1],
                "epochs": len(curve),
                "seconds": run_["fit_seconds"],
            }
        )
    return pd.DataFrame(rows)


def headline(table: pd.DataFrame) -> dict[str, Any]:
    """Count gains and winners, a block for each way of splitting."""
    found: dict[str, Any] = {}
    for scheme, own in table.groupby("scheme", sort=True):
        against = own[own["scratch"].notna()] if "scratch" in own else own.iloc[:0]
        block: dict[str, Any] = {
            "targets": len(own),
            "with_scratch": len(against),
            "below_base": int((own["transfer"] < own["base"]).sum()),
            "median_base_change": float(own["base_change"].median()),
            "winners": {str(k): int(v) for k, v in own["winner"].value_counts().sort_index().items()},
        }
        if len(against):
            block["below_scratch"] = int((against["transfer"] < against["scratch"]).sum())
            block["mean_change"] = float(against["change"].mean())
            block["median_change"] = float(against["change"].median())
        for row in own.to_dict("records"):
            targets = block.setdefault("mae", {}).setdefault(row["dataset"], {})
            targets[row["property"]] = {
                name: row[name]
                for name in ("base", "scratch", "transfer", "change", "base_change")
                if name in row
            }
        found[str(scheme)] = block
    return found
