"""An experiment's own store: its splits, runs and scores, over the main store's data and vectors.

`fit` and `finetune` of the pipeline keep a list of the runs that are asked for now, and `split` drops draws
that are not; an experiment asks for others. So it works in `store/experiments/<name>`, whose entries,
targets, structures, vectors and graphs are links to the main store's, and calls the very same stages there.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import featurestore
from core.errors import StrataError, check_name
from core.params import Finetune, Fit, Params, Split
from evaluation.current_runs import runs_of
from evaluation.experiments.frames import frame_of
from evaluation.experiments.settings import Comparison, Targets
from evaluation.protocol import look
from evaluation.rows import notes_of
from featurestore.query.facts import PropertyFacts
from featurestore.query.store import FeatureStore
from featurestore.splits.draws import TooFewRows
from featurestore.splits.schemes import split_dataset
from featurestore.tables.address import located
from featurestore.tables.places import storage_of
from heads.fit import fit
from zoo.training.finetune import finetune

FOLDER = "experiments"  # in the store
_SHARED = ("entries", "targets", "structures", "datasets", "published", "features", "extractions")
_MADE_ON_THE_WAY = (".graphs",)
_ENGINES = {section: {"engine"} for section in ("extract", "fit", "finetune")}
_DECIDE_NOTHING: Any = {"experiments": True, **_ENGINES}  # of the settings


class Workspace:
    """Draws, fits, trains and scores what one section of `experiments` asks for."""

    def __init__(self, name: str, params: Params, plan: Comparison, store_root: Path) -> None:
        self.name, self.params, self.plan = name, params, plan
        main = featurestore.open(store_root)
        self.targets = _named(main, plan.targets or dict.fromkeys(params.datasets, ()))
        self.trained = _named(main, plan.trained)
        self.notes: list[str] = []
        for dataset, names in self.trained.items():
            lacking = sorted(set(names) - set(self.targets.get(dataset, ())))
            if lacking:
                raise StrataError(
                    f"params.yaml, experiments.{name}: trained names {dataset}/{lacking[0]}, which is not "
                    "among its targets; Base and heads must stand beside a network"
                )
        self.root = _link(located(store_root), check_name(name, "experiment"))

    def heads(self, source_model: str | None = None) -> pd.DataFrame:
        """Draw all splits, fit Base, composition and the heads on them, and return the runs."""
        params = self.params
        if source_model is not None:
            extract = params.extract.model_copy(update={"source_models": (source_model,)})
            params = params.model_copy(update={"extract": extract})
        heads = dict.fromkeys(["mean", *self.plan.heads])
        asked = Fit(
            heads=tuple(heads),
            feature_sets=self.plan.feature_sets,
            composition=params.fit.composition,
            properties=self.targets,
            engine=params.fit.engine,
            workers=params.fit.workers,
        )
        found = []
        for dataset in self.targets:
            schemes = self._draw(dataset, self.plan.splits, self.plan.seeds)
            if schemes:
                report = fit(dataset, self._with(params, fit=asked), self.root, self.lenders)
                self.notes += [
                    f"{dataset}/{skip.property}, {skip.head}: not applicable, {skip.reason}"
                    for skip in report.not_applicable
                ]
                found.append(self.runs(dataset, [run.run_id for run in report.runs]))
        return _together(found, self.name)

    def networks(self) -> pd.DataFrame:
        """Train what the plan asks for, and return the runs; an empty table where nothing is asked for."""
        splits = self.plan.trained_splits or self.plan.splits
        asked = self.finetune(properties=self.trained, methods=self.plan.methods)
        found = []
        for dataset in self.trained:
            if self._draw(dataset, splits, self.plan.trained_seeds or self.plan.seeds):
                wanted = self._with(self.params, finetune=asked)
                done = finetune(dataset, wanted, self.root, lenders=self.lenders)
                found.append(self.runs(dataset, [run.run_id for run in done]))
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    def all_runs(self) -> pd.DataFrame:
        """Train networks, fit heads, and return the runs of both."""
        networks = self.networks()
        return _together([networks, self.heads()], self.name)

    def finetune(self, **changes: Any) -> Finetune:
        """Return the section `finetune` with the plan's own training."""
        asked = self.params.finetune.model_dump() | self.plan.training.model_dump() | changes
        return Finetune.model_validate(asked)

    def draw(self, dataset: str) -> None:
        """Draw the plan's splits of a dataset."""
        if not self._draw(dataset, self.plan.splits, self.plan.seeds):
            raise StrataError(f"experiment {self.name}: {dataset} can be split in none of the ways asked for")

    def runs(self, dataset: str, run_ids: Sequence[str]) -> pd.DataFrame:
        """Return the rows of the table runs with these ids."""
        runs = runs_of(self.store, dataset)
        return runs[runs["run_id"].isin(set(run_ids))].reset_index(drop=True)

    def score(self, runs: pd.DataFrame, within: Sequence[str] = ()) -> pd.DataFrame:
        """Choose among `runs` and look at the test part: one row per look (see `frames.frame_of`)."""
        store = self.store
        self.notes += notes_of(store, runs)
        return frame_of(look(store, runs, self.params.evaluate, f"experiment {self.name}", within))

    @property
    def lenders(self) -> list[Path]:
        """Return the stores that may have the same runs: the main one and those of other experiments."""
        main = self.root.parents[1]
        others = (path for path in sorted(self.root.parent.iterdir()) if path.is_dir() and path != self.root)
        return [main, *others]

    @property
    def store(self) -> FeatureStore:
        """Open the experiment's store as it stands now."""
        return featurestore.open(self.root)

    @property
    def key(self) -> str:
        """Return a hash of what results depend on: all settings, and every shard of the store."""
        shards = self.store.sql("SELECT sha256 FROM shards ORDER BY sha256").fetchall()
        settings = self.params.model_dump(mode="json", exclude=_DECIDE_NOTHING)
        text = json.dumps([settings, self.plan.model_dump(mode="json"), shards], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def provenance(self, runs: pd.DataFrame) -> dict[str, Any]:
        """Say what the runs were made from and with."""
        versions: dict[str, set[str]] = {}
        for text in set(runs["versions"].dropna()):
            for name, version in json.loads(text).items():
                versions.setdefault(name, set()).add(str(version))
        return {
            "source_models": sorted(set(runs["source_model"].dropna())),
            "extractions": sorted(set(runs["extraction_id"].dropna())),
            "runs": len(runs),
            "looks": len(self.store.sql("SELECT DISTINCT run_id, role, among FROM looks").fetchall()),
            "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
        }

    def _with(self, params: Params, **sections: Any) -> Params:
        schemes = Split(schemes=self.plan.splits, seeds=self.plan.seeds)
        return params.model_copy(update={"split": schemes, **sections})

    def _draw(self, dataset: str, schemes: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """Draw what can be drawn; where a scheme needs more rows than there are, that is noted."""
        try:
            split_dataset(self.root, dataset, schemes, seeds)
            return list(schemes)
        except TooFewRows:
            usable = [scheme for scheme in schemes if self._can_be_drawn(dataset, scheme, seeds)]
        if usable:
            split_dataset(self.root, dataset, usable, seeds)
        return usable

    def _can_be_drawn(self, dataset: str, scheme: str, seeds: Sequence[int]) -> bool:
        try:
            split_dataset(self.root, dataset, [scheme], seeds)
        except TooFewRows as error:
            self.notes.append(str(error))
            return False
        return True


def _named(store: FeatureStore, asked: Targets) -> Targets:
    """Write out the properties where a dataset stands for all of its own that are numbers.

    Raises `StrataError` for a property of classes that is named: experiments compare MAEs.
    """
    found = {}
    for dataset, names in asked.items():
        known = store.properties(dataset)
        of_classes = {name for name, item in _facts(store, dataset).items() if item.classes}
        if wrong := sorted(of_classes & set(names)):
            raise StrataError(
                f"{dataset}/{wrong[0]} is a property of classes, and experiments compare errors of numbers; "
                "leave it out of targets"
            )
        found[dataset] = tuple(names or (name for name in known if name not in of_classes))
    return {dataset: names for dataset, names in found.items() if names}


def _facts(store: FeatureStore, dataset: str) -> Mapping[str, PropertyFacts]:
    return store.facts(dataset).properties if dataset in store.datasets() else {}


def _link(store_root: Path, name: str) -> Path:
    root = store_root / FOLDER / name
    root.mkdir(parents=True, exist_ok=True)  # of a store in a bucket, the links are here
    storage_of(root).make_folder(root)
    for folder in _MADE_ON_THE_WAY:
        (store_root / folder).mkdir(exist_ok=True)
    for folder in (*_SHARED, *_MADE_ON_THE_WAY):
        link = root / folder
        if not link.is_symlink():
            try:
                link.symlink_to(os.path.relpath(store_root / folder, root), target_is_directory=True)
            except OSError as error:
                raise StrataError(f"cannot link {link} to {store_root / folder}: {error.strerror}") from error
    return root


def _together(found: Sequence[pd.DataFrame], name: str) -> pd.DataFrame:
    there = [frame for frame in found if len(frame)]
    if not there:
        raise StrataError(
            f"experiment {name}: nothing to run; name targets in params.yaml, experiments.{name}"
        )
    return pd.concat(there, ignore_index=True)
