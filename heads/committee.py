"""Committees: what runs of one property and split predict, averaged into one more run.

Members and weights depend on out-of-fold predictions of train and validation alone. Nothing is fitted anew: a
committee's predictions are those that its members left in the store.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core.checksums import write_checksums
from core.errors import StrataError
from featurestore import SplitKey
from featurestore.query.store import FeatureStore
from featurestore.tables.layout import StoreLayout
from featurestore.tables.models import new_model
from featurestore.tables.schema import SCHEMAS, completed
from featurestore.tables.writer import TableWriter
from heads.averaging import combined, cross_fitted, weigh
from heads.folds import Groups
from heads.summary import Run

FILE = "committee.json"
METHOD = "committee"
CODE = 2  # raised by hand when the same members would be given other weights
PARTS = ("train", "val", "test", "oof")


@dataclass(frozen=True, slots=True)
class Member:
    """A run that a committee averages."""

    run_id: str
    weight: float
    model_path: str  # relative to the store


def members_of(folder: Path) -> tuple[Member, ...]:
    """Read a committee's members from its model folder. Raises `StrataError` where it is none."""
    path = folder / FILE
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["members"]
        return tuple(Member(str(m["run_id"]), float(m["weight"]), str(m["model_path"])) for m in rows)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StrataError(f"{path} does not name the members of a committee ({error}); fit again") from None


def form(
    store: FeatureStore, dataset: str, fitted: Iterable[Run], rule: str, runs: TableWriter, kept: TableWriter
) -> list[Run]:
    """Make the committee of every property and split among runs that are in the store, and keep it.

    Candidates are the runs with out-of-fold predictions, the baseline by composition among them; where a
    split has fewer than two of them, all runs of heads, by their predictions of the validation part. runs,
    kept: where runs and predictions go.
    """
    numbers = "SELECT run_id, method FROM runs WHERE dataset = ? AND val_log_loss IS NULL"  # no classes
    method_of = dict(store.sql(numbers, [dataset]).fetchall())
    places: dict[tuple[str, SplitKey], list[Run]] = {}
    for run in fitted:
        method = method_of.get(run.run_id)
        if method == "features" or (method == "composition" and run.cv_mae is not None):
            places.setdefault((run.property, run.split), []).append(run)
    made, groups = [], Groups(store)
    for several in places.values():
        folded = [run for run in several if run.cv_mae is not None]
        candidates = folded if len(folded) > 1 else several
        if len(candidates) > 1:
            made.append(_form(store, dataset, candidates, rule, groups, runs, kept))
    return made


def _form(
    store: FeatureStore,
    dataset: str,
    candidates: Sequence[Run],
    rule: str,
    groups: Groups,
    runs: TableWriter,
    kept: TableWriter,
) -> Run:
    started = time.perf_counter()
    first = candidates[0]
    facts = _facts(store, [run.run_id for run in candidates])
    asked = json.dumps([METHOD, CODE, rule, sorted(facts)])
    run_id = hashlib.sha256(asked.encode()).hexdigest()
    tables = _predictions(store, list(facts))
    known = _known(store, dataset, first.property, first.split)
    values, structures = known["value"], known["structure_id"]
    learned = "oof" if all(run.cv_mae is not None for run in candidates) else "val"
    P, y = tables[learned].to_numpy(), values.loc[tables[learned].index].to_numpy()
    sources = [row["source_model"] or "" for row in facts.values()]
    weights = weigh(rule, P, y, sources)
    tables["oof"] = tables[learned]
    found = {part: combined(table.to_numpy(), weights) for part, table in tables.items()}
    missing = {part: count for part, (_, count) in found.items()}
    # Of the rows that the weights depend on: by weights that depend on others of them.
    said = {part: pd.Series(found[part][0], table.index) for part, table in tables.items()}
    together = groups.of(first.split.scheme, structures.loc[tables["oof"].index].tolist())
    said["oof"] = pd.Series(cross_fitted(rule, P, y, sources, together), tables["oof"].index)
    said = {part: column.dropna() for part, column in said.items()}  # entries that no member has a vector for
    errors = {part: float((said[part] - values).abs().mean()) for part in ("train", "val", "oof")}
    chosen = [(key, float(w)) for key, w in zip(facts, weights, strict=True) if w > 0]
    run = Run(
        run_id=run_id,
        property=first.property,
        unit=first.unit,
        head=METHOD,
        label=rule,
        feature_set=None,
        split=first.split,
        n_train=len(said["train"]),
        n_val=len(said["val"]),
        n_test=len(said["test"]),
        train_mae=errors["train"],
        val_mae=errors["val"],
        fit_seconds=time.perf_counter() - started,
        is_new=run_id not in runs.committed,
        cv_mae=errors["oof"],
        choice=first.choice if learned == "oof" else "validation",
    )
    if not run.is_new:
        return run
    layout = StoreLayout(Path(store.path))
    folder = layout.models(dataset) / run_id
    members = [{"run_id": key, "weight": w, "model_path": facts[key]["model_path"]} for key, w in chosen]
    with new_model(folder) as new:
        text = json.dumps({"rule": rule, "members": members}, indent=2)
        (new / FILE).write_text(text + "\n", encoding="utf-8")
        model_sha256 = write_checksums(new)
    kept.commit(run_id, _table(dataset, run, said, kept.schema))
    told = [
        {"run_id": key, "weight": w, "head": facts[key]["head"], "feature_set": facts[key]["feature_set"]}
        for key, w in chosen
    ]
    used = [facts[key] for key, _ in chosen]
    extractions = _extractions(used)
    row = {
        **run.columns(),
        "method": METHOD,
        "dataset": dataset,
        "source_model": "+".join(extractions) or None,
        "extraction_id": "+".join(extractions.values()) or None,
        "settings": json.dumps({"rule": rule, "members": told, "rows_without_a_member": missing}),
        "versions": used[0]["versions"],
        "model_path": folder.relative_to(layout.root).as_posix(),
        "created_at": datetime.now(UTC),
        "model_sha256": model_sha256,
    }
    runs.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
    return run


def _extractions(used: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the extraction of every source model that a member reads."""
    pairs = {
        pair
        for row in used
        if row["source_model"]
        for pair in zip(row["source_model"].split("+"), row["extraction_id"].split("+"), strict=True)
    }
    return dict(sorted(pairs))


def _facts(store: FeatureStore, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read what the table runs says of candidates, ordered by their ids."""
    rows = store.sql(
        "SELECT run_id, head, feature_set, source_model, extraction_id, versions, model_path FROM runs "
        "WHERE run_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY run_id",
        [list(run_ids)],
    ).df()
    return {row["run_id"]: row for row in rows.replace({np.nan: None}).to_dict("records")}


def _predictions(store: FeatureStore, run_ids: list[str]) -> dict[str, pd.DataFrame]:
    """Return a table of each part: entries × runs, NaN where a run has no vector for an entry."""
    rows = store.sql(
        "SELECT run_id, entry_id, part, prediction FROM predictions "
        "WHERE run_id IN (SELECT unnest(?::VARCHAR[]))",
        [run_ids],
    ).df()
    return {
        part: rows[rows["part"] == part]
        .pivot_table(index="entry_id", columns="run_id", values="prediction")
        .reindex(columns=run_ids)
        for part in PARTS
    }


def _known(store: FeatureStore, dataset: str, name: str, split: SplitKey) -> pd.DataFrame:
    """Return values and structures of the entries of train and val; those of the test part are not read."""
    rows = store.sql(
        "SELECT t.entry_id, t.value, t.structure_id "
        "FROM targets t JOIN splits s USING (dataset, property, entry_id) "
        "WHERE t.dataset = ? AND t.property = ? AND s.scheme = ? AND s.seed = ? AND s.fold = ? "
        "AND s.part IN ('train', 'val')",
        [dataset, name, *split],
    ).df()
    return rows.set_index("entry_id")


def _table(dataset: str, run: Run, said: Mapping[str, pd.Series], schema: pa.Schema) -> pa.Table:
    parts = [part for part in PARTS if len(said[part])]
    n = sum(len(said[part]) for part in parts)
    columns = {
        "run_id": [run.run_id] * n,
        "dataset": [dataset] * n,
        "property": [run.property] * n,
        "entry_id": np.concatenate([said[part].index.to_numpy(object) for part in parts]),
        "part": np.repeat(parts, [len(said[part]) for part in parts]).astype(object),
        "prediction": np.concatenate([said[part].to_numpy() for part in parts]),
    }
    return completed(pa.Table.from_pydict(columns, schema=SCHEMAS["predictions"]), schema)
