"""The tests over all targets: sign test, Wilcoxon's signed ranks, critical differences (Demšar 2006).

Read off what `transfer` looked at; nothing is looked at again.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from core.errors import StrataError
from core.params import Params, Section
from core.text import number
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.figures import Figure
from evaluation.experiments.frames import nested, records, unseen
from evaluation.experiments.results import Result
from evaluation.experiments.transfer import BY, transferred
from evaluation.report.vega_ranks import ranks_spec
from evaluation.statistics import CriticalDifference, critical_difference, sign_test, wilcoxon

NAME = "significance"
_NOT_INDEPENDENT = (
    "Targets of one dataset share structures and are not independent: where they are alike, p is too small."
)


class Settings(Section):
    """What is read off the results of the experiment `transfer`."""

    alpha: float = Field(0.05, gt=0, lt=1, description="level of the critical difference")


def run(asked: Settings, params: Params, store_root: Path, out: Path) -> Result:
    """Test transfer against scratch, composition and Base, for each way of splitting."""
    source = transferred(params, store_root, out)
    table, left_out = unseen(source.tables["table"])
    if table.empty:
        raise StrataError("experiment significance: a source model was trained on the labels of every target")
    validation = source.tables["validation"].merge(table[BY])
    tests = pair_tests(table)
    ranks = pd.concat(
        [
            rank_table(_by_test(table), "test", asked.alpha),
            rank_table(_by_validation(validation), "validation", asked.alpha),
        ],
        ignore_index=True,
    )
    facts = ("targets", "gains", "losses", "sign_p", "wilcoxon_p")
    tables = {"table": tests}
    if len(ranks):
        tables["ranks"] = ranks
    return Result(
        NAME,
        tables,
        nested(tests, ["scheme", "against"], facts),
        provenance=source.provenance,
        notes=(_NOT_INDEPENDENT, *left_out),
    )


def pair_tests(table: pd.DataFrame) -> pd.DataFrame:
    """Return sign test and Wilcoxon of transfer against each other method, one row per way of splitting."""
    rows = []
    for scheme, own in table.groupby("scheme", sort=True):
        for against in ("scratch", "composition", "base"):
            both = own[own[against].notna() & (own[against] > 0)] if against in own else own.iloc[:0]
            if both.empty:
                continue
            sign = sign_test(both["transfer"] - both[against])
            ratios = both[both["transfer"] > 0]
            logs = [math.log(t / o) for t, o in zip(ratios["transfer"], ratios[against], strict=True)]
            signed = wilcoxon(logs) if logs else None
            rows.append(
                {
                    "scheme": scheme,
                    "against": against,
                    "targets": len(both),
                    "gains": sign.gains,
                    "losses": sign.losses,
                    "ties": sign.ties,
                    "share": sign.gains / max(sign.gains + sign.losses, 1),
                    "share_low": sign.low,
                    "share_high": sign.high,
                    "sign_p": sign.p_value,
                    "wilcoxon": signed.statistic if signed else None,
                    "wilcoxon_p": signed.p_value if signed else None,
                }
            )
    return pd.DataFrame(rows)


def _by_test(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per target and method, of those that looked at the test part."""
    sides = ("base", "composition", "scratch", "transfer")
    wanted = ["dataset", "property", "scheme", *(name for name in sides if name in table)]
    return table[wanted].melt(["dataset", "property", "scheme"], var_name="method", value_name="mae")


def _by_validation(validation: pd.DataFrame) -> pd.DataFrame:
    return validation.rename(columns={"val_mae": "mae"})


def rank_table(errors: pd.DataFrame, part: str, alpha: float) -> pd.DataFrame:
    """Rank the methods that all targets have; none where they are too few for a critical difference.

    Where a method lacks targets (networks are trained for some only) there are two rankings: of the methods
    that all targets have, and of all methods on the targets that have all.
    """
    rows = []
    for scheme, own in errors.groupby("scheme", sort=True):
        wide = own.pivot_table(index=["dataset", "property"], columns="method", values="mae")
        whole = {"all targets": wide.dropna(axis=1), "targets with networks": wide.dropna(axis=0)}
        for over, table in whole.items():
            if (
                table.shape[0] < 2
                or table.shape[1] < 3
                or (over != "all targets" and not wide.isna().any(axis=None))
            ):
                continue
            rows += _rows(
                critical_difference(table.to_numpy(), list(table.columns), alpha), str(scheme), part, over
            )
    return pd.DataFrame(rows)


def _rows(found: CriticalDifference, scheme: str, part: str, over: str) -> list[dict[str, Any]]:
    return [
        {
            "scheme": scheme,
            "part": part,
            "over": over,
            "method": method,
            "rank": rank,
            "groups": " ".join(str(i) for i, group in enumerate(found.groups) if method in group),
            "targets": found.n,
            "distance": found.distance,
            "alpha": found.alpha,
            "friedman": found.statistic,
            "friedman_p": found.p_value,
        }
        for method, rank in zip(found.methods, found.ranks, strict=True)
    ]


def figures(result: Result) -> Iterable[Figure]:
    """Draw the critical-difference diagrams."""
    if "ranks" not in result.tables:
        return
    for (scheme, part, over), own in result.tables["ranks"].groupby(["scheme", "part", "over"], sort=True):
        rows = records(own.sort_values("rank", kind="stable"))
        numbers = sorted({int(i) for row in rows for i in str(row["groups"] or "").split()})
        groups = [
            [row["method"] for row in rows if str(i) in str(row["groups"] or "").split()] for i in numbers
        ]
        ranks = [(row["method"], row["rank"]) for row in rows]
        spec = ranks_spec(f"{scheme}, {part}", ranks, rows[0]["distance"], groups)
        caption = (
            f"{scheme}, by {part} MAE over {over} ({rows[0]['targets']}); a bar joins what cannot "
            f"be told apart at {number(rows[0]['alpha'])}"
        )
        yield Figure(f"ranks-{scheme}-{part}-{str(over).replace(' ', '-')}", caption, spec)


EXPERIMENT = Experiment(
    name=NAME,
    title="Significance",
    question="Could as many gains over all targets have come by chance?",
    paper="Discussion",
    settings=Settings,
    run=run,
    tables={
        "table": Shown(
            (
                *("scheme", "against", "targets", "gains", "losses", "ties", "share", "sign_p"),
                "wilcoxon_p",
            ),
            titles={"share": "Share of gains", "sign_p": "p, sign test", "wilcoxon_p": "p, Wilcoxon"},
        ),
        "ranks": Shown(
            ("method", "scheme", "part", "over", "rank", "targets", "distance", "friedman_p"),
            "Average ranks, 1 is best.",
            {
                "method": "Method",
                "part": "By MAE of",
                "rank": "Average rank",
                "distance": "Critical difference",
                "friedman_p": "p, Friedman",
            },
        ),
    },
    figures=figures,
    order=6,
)
