"""Tables 2 to 6 of the paper: Base, scratch and transfer, the change in per cent, and which method won.

Transfer is whatever has the lowest validation MAE among the heads and the fine-tuned network. Targets without
networks of their own are compared with Base alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.params import Params
from core.text import number
from etl.cards import list_cards, load_card
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.frames import FIT, SIDES, TARGET, compare, scores_of, unseen
from evaluation.experiments.published import CITATION, beside
from evaluation.experiments.results import FACTS, Result, read, write
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from featurestore.tables.models import model_folder

NAME = "transfer"
BY = ["dataset", "property", "scheme"]
_PUBLISHED = (("rows", "rows"), ("base", "Base"), ("scratch", "scratch"), ("transfer", "transfer"))


class Settings(Comparison):
    """Heads, and networks for some of the targets."""


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Train, fit, choose, look, and lay the methods side by side."""
    workspace = Workspace(NAME, params, asked, store_root)
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    table = compare(looks, BY, params.evaluate.bootstrap, params.evaluate.seed)
    groups = {name: group_of(name) for name in table["dataset"].unique()}
    table.insert(0, "group", table["dataset"].map(groups))
    tables = {"table": table, "validation": validation(runs), "scores": scores_of(looks)}
    counted, left_out = unseen(table)
    losses = training_losses(runs, workspace.root)
    if len(losses):
        tables["training"] = losses
    return Result(
        NAME,
        tables,
        metrics=headline(counted),
        provenance=workspace.provenance(runs),
        notes=(*workspace.notes, *left_out),
        key=workspace.key,
    )


def transferred(params: Params, store_root: Path, out: Path) -> Result:
    """Return what is written under `out` while settings and store are those it was made from; else run.

    Runs that exist are not made again, so that running costs seconds where `transfer` ran before.
    """
    workspace = Workspace(NAME, params, EXPERIMENT.asked(params), store_root)
    if not (out / NAME / FACTS).exists() or read(NAME, out).key != workspace.key:
        write(EXPERIMENT.make(params, store_root, out), out)
    return read(NAME, out)


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
        curve = pd.read_csv(model_folder(root, run_["model_path"]) / f"{run_['property']}.csv")
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
    if table.empty:
        return found
    for scheme, own in table.groupby("scheme", sort=True):
        against = own[own["scratch"].notna()] if "scratch" in own else own.iloc[:0]
        block: dict[str, Any] = {
            "targets": len(own),
            "with_scratch": len(against),
            "below_base": int((own["transfer"] < own["base"]).sum()),
            "median_base_change": float(own["base_change"].median()),
            "winners": {str(k): int(v) for k, v in own["winner"].value_counts().sort_index().items()},
        }
        if "composition" in own:
            beside = own[own["composition"].notna()]
            block["with_composition"] = len(beside)
            block["below_composition"] = int((beside["transfer"] < beside["composition"]).sum())
        if len(against):
            block["below_scratch"] = int((against["transfer"] < against["scratch"]).sum())
            block["mean_change"] = float(against["change"].mean())
            block["median_change"] = float(against["change"].median())
        for row in own.to_dict("records"):
            targets = block.setdefault("mae", {}).setdefault(row["dataset"], {})
            targets[row["property"]] = {name: row[name] for name in SIDES if name in row}
        found[str(scheme)] = block
    return found


def words(result: Result) -> Iterable[str]:
    """Say in a sentence a split how often, and by how much, transfer is better."""
    for scheme, found in result.metrics.items():
        text = (
            f"{scheme}: transfer is below Base for {found['below_base']} of {found['targets']} targets, "
            f"in the median by {number(-found['median_base_change'], 3)} %"
        )
        if found["with_scratch"]:
            text += (
                f"; below scratch for {found['below_scratch']} of {found['with_scratch']}, in the median "
                f"{number(found['median_change'], 3)} %"
            )
        if found.get("with_composition"):
            text += (
                f"; below the forest by composition for {found['below_composition']} of "
                f"{found['with_composition']}"
            )
        yield text + "."


def in_short(row: Mapping[str, Any]) -> str:
    """Say of one target its MAE."""
    return f"transfer {number(row['transfer'])} {row['unit']}, {row['scheme']}"


EXPERIMENT = Experiment(
    name=NAME,
    title="Transfer",
    question="How much does transfer learning gain over training from scratch, and over Base?",
    paper="tables 2 to 6",
    settings=Settings,
    run=run,
    tables={
        "table": Shown((*TARGET, "group", "rows", *SIDES, "method", "winner", "label", *FIT, "splits")),
        "published": Shown(
            (
                *("property", "dataset", "unit", "rows", "base", "scratch", "transfer", "label"),
                *("published_rows", "published_base", "published_scratch", "published_transfer"),
            ),
            f"Beside it what {CITATION} report: with other parts, epochs and source model, and not compared "
            "here.",
            {f"published_{name}": f"Published: {title}" for name, title in _PUBLISHED},
        ),
    },
    beside=lambda result: {"published": beside(result.tables["table"])},
    words=words,
    headline=in_short,
    order=2,
)
