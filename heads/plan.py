"""What a `fit` is asked to do: its jobs, the data of each, and the id that says whether it was done."""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import StrataError, unknown
from core.params import Extract, Params
from featurestore.query.feature_sets import ALL, LAST, FeatureSet, full_name
from featurestore.query.matrix import Matrix, SplitKey
from featurestore.query.store import FeatureStore
from heads.base import Head, NotApplicable, class_path
from heads.folds import PLAIN, Choice
from heads.on_log import LOG, OnLog
from heads.registry import HeadSpec
from heads.summary import Lacking
from heads.tasks import suited

AUTO = "auto"  # under fit.feature_sets: what `searched` names
_JOINED_FROM = 0.9  # of the rows


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is asked for; the feature set of Base is only where its rows are taken from."""

    dataset: str
    target: str
    vectors: FeatureSet
    split: SplitKey
    spec: HeadSpec
    is_composition: bool = False  # the baseline by composition, which is in no choice
    transform: str | None = None  # log: the head learns the logarithm
    classes: tuple[str, ...] = ()  # of the property, by their codes; none: its values are numbers
    refused: str | None = None  # why this head says nothing of this property

    @property
    def method(self) -> str:
        """Its method in the table runs."""
        if self.is_composition:
            return "composition"
        return "features" if self.spec.cls.needs_vectors else "base"

    def make(self) -> Any:
        """Return an unfitted head, which takes and gives values in the property's unit."""
        return OnLog(self.spec.make()) if self.transform == LOG else self.spec.make()

    @property
    def feature_set(self) -> str:
        """The feature set's one way of writing, with its source models where there are several."""
        return self.vectors.name

    @property
    def asked(self) -> str:
        """The feature set as the store is asked for it."""
        return full_name(self.vectors.name, self.vectors.source_model)

    @property
    def name(self) -> str:
        """Say in an error which run this is."""
        place = f"{self.dataset}/{self.target}, {'-'.join(map(str, self.split))}"
        return f"{self.spec.name} on {self.asked} of {place}"


@dataclass(frozen=True, eq=False, slots=True)
class Data:
    """The rows of one property, feature set and split: known ones with targets, test ones without."""

    known: Matrix
    test: Matrix
    sha256: str  # of entry ids, parts and known targets
    vectors_sha256: str

    def part(self, name: str, vectors: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n, d) and y (n,) of the part train or val; without vectors X is zeros (n, 1)."""
        rows = np.asarray(self.known.part) == name
        y = self.known.y
        if y is None:
            raise ValueError("the known parts were read without targets")
        return (self.known.X[rows] if vectors else np.zeros((int(rows.sum()), 1))), y[rows]


def jobs_of(
    store: FeatureStore,
    dataset: str,
    params: Params,
    specs: Sequence[HeadSpec],
    baseline: tuple[FeatureSet, HeadSpec] | None = None,
) -> Iterator[Job]:
    """Enumerate the runs that `params.fit` asks of a dataset, those of the same data side by side.

    baseline: what is fitted beside Base as the baseline by composition.
    """
    known, facts = store.properties(dataset), store.facts(dataset)
    names = params.fit.properties.get(dataset, tuple(known))
    if not params.fit.feature_sets:
        raise StrataError("fit.feature_sets is empty; `strata features` lists the sets")
    covered = coverage(store, dataset) if AUTO in params.fit.feature_sets else {}
    for name in names:
        if name not in known:
            raise unknown("property", name, known, f"params.yaml, fit.properties.{dataset}")
        feature_sets = {}
        for text in params.fit.feature_sets:
            for one in searched(covered.get(name, {})) if text == AUTO else [text]:
                found = wanted(store, one, params.extract)
                if not all(store.sources[source].covers(dataset) for source in found.sources):
                    continue  # another dataset's own columns
                feature_sets[found.blocks] = found  # what is asked for twice in other words is fitted once
        splits = store.splits(dataset, name)
        scale: dict[str, Any] = {
            "transform": facts.properties[name].transform,
            "classes": facts.properties[name].classes,
        }
        if not splits:
            raise StrataError(f"{dataset}/{name} has no split yet; run: strata split {dataset}")
        for split in splits:
            for i, feature_set in enumerate(feature_sets.values()):
                for spec in specs:
                    if spec.cls.needs_vectors or i == 0:
                        yield _suited(Job(dataset, name, feature_set, split, spec, **scale))
            if baseline is not None:
                yield _suited(
                    Job(dataset, name, baseline[0], split, baseline[1], is_composition=True, **scale)
                )


def _suited(job: Job) -> Job:
    """Take the head that stands for the asked one where there are classes, or say why there is none."""
    try:
        return replace(job, spec=suited(job.spec, bool(job.classes)))
    except NotApplicable as reason:
        return replace(job, refused=str(reason))


def coverage(store: FeatureStore, dataset: str) -> dict[str, dict[str, int]]:
    """Count, for every property of a dataset, the rows that each source model has vectors of."""
    query = """
        SELECT t.property, count(*) FROM targets t
        WHERE t.dataset = ? AND t.structure_id IN (
            SELECT structure_id FROM stored_features WHERE extraction_id = ?)
        GROUP BY ALL
    """
    found: dict[str, dict[str, int]] = {name: {} for name in store.properties(dataset)}
    for name, source in store.sources.items():
        for target, rows in store.sql(query, [dataset, source.extraction_id]).fetchall():
            found[target][name] = rows
    return found


def searched(rows: Mapping[str, int]) -> list[str]:
    """Name what `auto` stands for: of each source model the last checkpoints, and all of them.

    Then all checkpoints of all source models side by side. rows: how many rows each has vectors of; where
    one lacks more than a tenth of what the others have, it is left out of what is joined.

    >>> searched({"alignn": 100, "chgnet": 98, "new": 40})[-2:]
    ['new/all', 'alignn/all+chgnet/all']
    """
    if not rows:
        raise StrataError("no source model has vectors of this dataset yet; run: strata extract")
    whole = [name for name, count in rows.items() if count >= _JOINED_FROM * max(rows.values())]
    sets = [f"{name}/{of}" for name in rows for of in (LAST, ALL)]
    return [*sets, "+".join(f"{name}/{ALL}" for name in whole)]


def composition_set(store: FeatureStore, params: Params) -> FeatureSet | None:
    """Find `params.fit.composition` in the store.

    None where it is turned off, or where the store has no vectors of its source model.
    """
    asked = params.fit.composition
    if asked is None or asked.rpartition("/")[0] not in store.sources:
        return None
    return wanted(store, asked, params.extract)


def wanted(store: FeatureStore, feature_set: str, settings: Extract) -> FeatureSet:
    """Find a feature set in the store, for the default source model of the params where it names none.

    Raises `StrataError` where the store lacks a source model's vectors, or has them in another numeric mode
    than the params ask for.
    """
    if settings.default not in store.sources:
        have = ", ".join(store.sources) or "none"
        raise StrataError(
            f"the store has no vectors by {settings.default}, as the params ask for (it has: {have}); run: "
            f"strata extract {settings.default}"
        )
    found = store.feature_set(feature_set, settings.default)
    for source in found.sources:
        made = store.sources[source].precision
        if made is not None and made != settings.precision:
            raise StrataError(
                f"the store's vectors by {source} were made with precision: {made}, and params.yaml says "
                f"{settings.precision}; run: strata extract {source}"
            )
    return found


def read(store: FeatureStore, job: Job) -> Data:
    """Read a job's rows; the targets of the test part stay in the store."""
    where = (job.dataset, job.target, job.asked)
    known = store.matrix(*where, split=job.split, parts=("train", "val"))
    test = store.inputs(*where, split=job.split, parts=("test",))
    rows, vectors = hashlib.sha256(), hashlib.sha256()
    for matrix in (known, test):
        part = [] if matrix.part is None else matrix.part.tolist()
        rows.update(json.dumps([matrix.entry_ids.tolist(), part]).encode())
        rows.update(b"" if matrix.y is None else np.ascontiguousarray(matrix.y).data)
        vectors.update(np.ascontiguousarray(matrix.X).data)
    return Data(known, test, rows.hexdigest(), vectors.hexdigest())


def lacking_of(store: FeatureStore, dataset: str, jobs: Sequence[Job]) -> tuple[Lacking, ...]:
    """Count the rows that the jobs' feature sets have no vectors for, by the source model that rejected them.

    A method is fitted on the rows that it has. Those of another feature set may be others.
    """
    query = """
        SELECT t.property, r.extraction_id, count(*)
        FROM targets t
        JOIN (SELECT DISTINCT id, extraction_id FROM rejects WHERE "table" = 'features') r
            ON r.id = t.structure_id
        WHERE t.dataset = ? AND NOT EXISTS (
            FROM stored_features f
            WHERE (f.structure_id, f.extraction_id) = (t.structure_id, r.extraction_id)
        )
        GROUP BY ALL
    """
    rejected = {(name, extraction): rows for name, extraction, rows in store.sql(query, [dataset]).fetchall()}
    found = [
        Lacking(job.target, job.feature_set, source, rejected[job.target, extraction])
        for job in jobs
        if job.spec.cls.needs_vectors
        for source, extraction in job.vectors.extractions.items()
        if (job.target, extraction) in rejected
    ]
    return tuple(dict.fromkeys(found))


def run_id_of(job: Job, data: Data, choice: Choice = PLAIN) -> str:
    """Hash what decides the outcome: data, split, head, settings; no timing, no library version."""
    cls = job.spec.cls
    vectors = [job.feature_set, data.known.extraction_id, data.vectors_sha256] if cls.needs_vectors else None
    facts = {
        "rows": [job.dataset, job.target, *job.split, data.sha256],
        "vectors": vectors,
        "head": [job.spec.name, class_path(cls), cls.revision, job.spec.label],
        "settings": dict(job.spec.settings),
        "source": None if job.spec.built_in else _source(cls),
    }
    if job.is_composition:  # the same head on the same vectors that competes is another run
        facts["method"] = job.method
    if job.transform or job.classes:
        facts["scale"] = list(job.classes) or job.transform
    if not choice.plain:
        facts["choice"] = [choice.text, *choice.facts]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _source(cls: type[Head]) -> str:
    """Return the text of a user's module: an edit in it makes new runs."""
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError) as error:
        raise StrataError(f"{class_path(cls)} must lie in a file of its own to be fitted ({error})") from None
