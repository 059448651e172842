"""The stage `fit`: every head on every feature set of every property and split of a dataset.

A run's id is the hash of what decides its outcome, so a run that exists is skipped and a killed `fit`
goes on where it was. Targets of the test part are never read here: `evaluate` alone does.
"""

from collections.abc import Sequence
from pathlib import Path

from core.atomic import clear_unfinished
from core.engines import executor_of
from core.errors import check_name
from core.executor import Executor
from core.params import Params
from core.progress import progress
from featurestore import current
from featurestore.query.store import FeatureStore, open_store
from featurestore.runs_import import Lenders
from featurestore.tables.address import address
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import require_sound, schema_of
from featurestore.tables.schema import SCHEMAS, completed, widest
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter
from heads import work
from heads.committee import form
from heads.plan import Job, composition_set, jobs_of, lacking_of
from heads.registry import check_sections, resolve
from heads.summary import FitReport, Run, Skipped

COMPOSITION_HEAD = "forest"  # on `fit.composition`
_KEEP_EVERY = 30.0  # seconds of work that a kill may lose
_WORTH_WORKERS = 4000  # rows times jobs: below it they are done before workers would be up


def fit(
    dataset: str,
    params: Params,
    store_root: str | Path = "store",
    lenders: Sequence[Path] = (),
    executor: type[Executor] | None = None,
) -> FitReport:
    """Fit what `params.fit` asks of `dataset`, keep runs, predictions and models, and say what was done.

    Writes `store/runs/<dataset>`: the tables runs and predictions, models/<run_id>/, and the ids of
    the runs that are asked for now, in current.json; runs asked for earlier stay as history. A run that
    one of the stores `lenders` has is copied from there. executor: by default the one that
    `params.fit.engine` names; a run comes out the same by all of them.

    Raises `StrataError` for unknown names and settings, and where vectors or splits are missing.
    """
    check_name(dataset, "dataset")
    check_sections(params.heads)
    specs = [resolve(name, params.heads) for name in params.fit.heads]
    store = open_store(store_root)
    require_sound(store_root, ("entries", "targets", "splits", "features"), dataset)  # DVC does not look
    composition = composition_set(store, params)
    baseline = None if composition is None else (composition, resolve(COMPOSITION_HEAD, params.heads))
    jobs = list(jobs_of(store, dataset, params, specs, baseline))
    layout = StoreLayout(Path(store_root))
    # A table that has labels keeps them, also those of properties that are no longer asked for.
    schema = schema_of("predictions", layout.predictions(dataset))
    if any(job.classes for job in jobs):
        schema = widest("predictions")
    done: list[Run] = []
    skipped: list[Skipped] = []
    with (
        TableWriter(layout.runs(dataset), SCHEMAS["runs"], "fit", alone=True) as runs,
        TableWriter(layout.predictions(dataset), schema, "fit", alone=True) as predictions,
        Together(predictions, runs, joined=True) as batch,
    ):
        known = {key: run for key, run in _known_runs(store, dataset).items() if key in runs.committed}
        clear_unfinished(layout.models(dataset))
        others = Lenders(lenders, lambda store, kind: store.table(kind, dataset))
        there = frozenset(known) | others.offered
        chosen = executor or executor_of(params.fit.engine)
        workers = chosen.count(params.fit.workers, len(jobs), _worth_it(store, dataset, jobs))
        root = Path(address(layout.root.absolute()))  # another machine keeps its copies elsewhere
        pool = chosen(workers, work.start, (root, params.fit, there))
        with work.one_thread():
            made = pool.ordered(work.make, jobs)
            for job in progress(jobs, f"fit {dataset}"):
                result = next(made)
                batch.keep(_KEEP_EVERY)
                if result.reason is None and result.run is None:
                    if result.run_id in known:
                        done.append(known[result.run_id])
                        continue
                    if row := others.lend(result.run_id, layout.root, predictions, runs):
                        done.append(Run.from_row([row[name] for name in Run.stored()]))
                        continue
                    # Another store has it, but damaged.
                    result = work.Worker(layout.root, params.fit, there).make(job, anew=True)
                if result.reason is not None:
                    skipped.append(
                        Skipped(job.target, job.spec.name, job.feature_set, job.split, result.reason)
                    )
                elif result.run is not None and result.run_id not in runs.committed:
                    predictions.commit(result.run_id, completed(result.predictions, schema))
                    runs.commit(result.run_id, result.row)
                    done.append(result.run)
        if params.fit.committee is not None:
            batch.commit()
            now = open_store(store_root)  # with the runs that were kept since
            done += form(now, dataset, done, params.fit.committee, runs, predictions)
        batch.commit()
        current.write(layout.runs(dataset), [run.run_id for run in done])
    return FitReport(
        dataset,
        tuple(done),
        tuple(skipped),
        lacking_of(store, dataset, jobs),
        params.fit.composition if composition is None else None,
    )


def _worth_it(store: FeatureStore, dataset: str, jobs: Sequence[Job]) -> int:
    """Return from how many jobs on they are worth processes of their own, by the rows that they have."""
    rows = store.sql("SELECT count(*) FROM entries WHERE dataset = ?", [dataset]).fetchall()[0][0]
    return 2 if rows * len(jobs) >= _WORTH_WORKERS else len(jobs) + 1


def _known_runs(store: FeatureStore, dataset: str) -> dict[str, Run]:
    """Read the runs that the store has, by id."""
    names = ", ".join(Run.stored())
    rows = store.sql(f"SELECT {names} FROM runs WHERE dataset = ?", [dataset]).fetchall()  # noqa: S608 - ours
    return {run.run_id: run for run in (Run.from_row(row) for row in rows)}
