"""Extraction by Ray: the local engine's vectors to the bit, whatever is killed, and nothing twice."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import strata
from core.errors import StrataError
from core.params import Params, parse
from core.progress import Meter
from etl import on_ray
from etl.chunks import TASK, cut
from etl.extract import extract
from etl.on_ray import chunk_size, shards_by_ray
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from tests.clusters import ROOT, small_cluster, wait_for
from tests.crystals import random_structure
from tests.engines import SOURCE
from tests.etl.test_extract import GIANT, add

STRATA = "from strata import main; main()"


def settings(engine: str, chunk: int = 2, **more) -> dict:
    chosen = {"source_models": [SOURCE], "chunk": chunk, "threads": 1, "device": "cpu", "workers": 3}
    backbones = {"alignn": {"max_angles": 6000}}
    return {"datasets": ["made"], "extract": {**chosen, "engine": engine, "backbones": backbones, **more}}


def params(engine: str, **more) -> Params:
    return parse(settings(engine, **more))


def make(root: Path | str, count: int, atoms: int = 3) -> Path | str:
    drawn = [random_structure(np.random.default_rng(seed), 1 + seed % atoms) for seed in range(count)]
    add(root, "made", [*drawn, GIANT])
    return root


def content(root: Path) -> tuple[pa.Table, list[tuple]]:
    """All that the table of vectors holds, in an order that does not depend on who was first."""
    found = snapshot(StoreLayout(root).features(SOURCE))
    rows = pa.concat_tables([pq.read_table(path) for path in found.paths]).sort_by("structure_id")
    assert rows["structure_id"].combine_chunks().unique().equals(rows["structure_id"].combine_chunks())
    return rows.replace_schema_metadata(None).combine_chunks(), sorted(found.rejects)


def entries(root: Path) -> int:
    return snapshot(StoreLayout(root).features(SOURCE)).version


@pytest.mark.parametrize("missing", [1, 64, 1000, 5000, 36_476])
@pytest.mark.parametrize("chunk", [2048, 100, 64, 7])
def test_fewer_structures_at_once_never_change_a_task(missing, chunk):
    def tasks(size: int) -> list:
        return [task for part in cut(range(missing), size) for task in cut(part, TASK)]

    for workers in (1, 2, 16):
        assert tasks(chunk_size(chunk, missing, workers)) == tasks(chunk)


def test_few_structures_are_left_to_this_process(tmp_path, monkeypatch):
    def nobody(*_):
        raise AssertionError("a cluster was asked for")

    monkeypatch.setattr("etl.extract.shards_by_ray", nobody)
    root = make(tmp_path / "store", 3)
    (report,) = extract(params("ray", workers=-1), root)
    assert (report.extracted, report.rejected) == (3, {"too_large": 1})


@pytest.fixture(scope="module")
def cluster():
    with small_cluster(3) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True], ids=["one actor", "graphs and network apart"])
def test_vectors_and_rejects_are_the_local_engines_to_the_bit(tmp_path, cluster, monkeypatch, apart):
    if apart:  # as with a GPU, whose part a CPU plays

        def stages(data, chunks, work, _workers, _gpus):
            made = data.from_items(chunks, override_num_blocks=len(chunks)).map(
                on_ray.Graphs, fn_constructor_args=(work,), concurrency=1
            )
            run = made.map(on_ray.Network, fn_constructor_args=(work, "cpu"), concurrency=1)
            return run.map(on_ray.write, fn_kwargs={"work": work}, num_cpus=0)

        monkeypatch.setattr(on_ray, "_stages", stages)
    local, there = (make(tmp_path / name, 9) for name in ("local", "ray"))
    extract(params("local", workers=2), local)
    (report,) = extract(params("ray"), there)
    assert (report.extracted, report.rejected) == (9, {"too_large": 1})
    rows, rejects = content(there)
    assert rows.equals(content(local)[0])
    assert rejects == content(local)[1]
    version = entries(there)
    (again,) = extract(params("ray"), there)
    assert (again.extracted, entries(there)) == (0, version)


@pytest.mark.slow
def test_workers_may_share_a_bucket_alone(tmp_path, bucket):
    local, there = make(tmp_path / "local", 9), make("s3://vectors/team/store", 9)
    extract(params("local", workers=2), local)
    with small_cluster(2):  # whose workers have the environment that names the bucket
        (report,) = extract(params("ray"), there)
    assert (report.extracted, report.rejected) == (9, {"too_large": 1})
    names = [name for name in bucket.names() if name.startswith(f"team/store/features/{SOURCE}/")]
    assert len([name for name in names if name.endswith(".parquet")]) >= 4  # nine by two, and the reject
    with strata.open(there) as far, strata.open(local) as near:
        question = "SELECT structure_id, atom_0, atom_8, angle_4 FROM features ORDER BY 1"
        assert far.sql(question).to_arrow_table().equals(near.sql(question).to_arrow_table())


@pytest.mark.slow
def test_an_error_of_a_worker_is_ours(tmp_path, cluster):
    root = make(tmp_path / "store", 4)
    with pytest.raises(StrataError, match="the cluster has no GPU"):
        extract(params("ray", device="cuda"), root)
    unknown = shards_by_ray(root, ["0" * 64], params("ray").extract, SOURCE, Meter("extract", 1))
    with pytest.raises(StrataError, match=r"^[^\n]*0000[^\n]*$"):
        next(unknown)


def driver(folder: Path) -> subprocess.Popen:
    """Start an extraction of the project in a folder, as a process of its own."""
    (folder / "params.yaml").write_text(yaml.safe_dump(settings("ray")), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", STRATA, "extract"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_kills_of_workers_a_node_and_the_driver_lose_and_double_nothing(tmp_path, seed):
    choice = random.Random(seed)
    root, local = (make(tmp_path / name / "store", 60, atoms=24) for name in ("ray", "local"))
    extract(params("local", workers=2), local)
    with small_cluster(3) as cluster:
        first = driver(root.parent)
        features = StoreLayout(root).features(SOURCE)
        wait_for(lambda: features.is_dir() and entries(root) > choice.randrange(1, 4))
        cluster.kill_worker("MapWorker", choice)
        before = entries(root)
        wait_for(lambda: entries(root) > before + choice.randrange(3))
        cluster.kill_node(choice)
        before = entries(root)
        wait_for(lambda: entries(root) > before + choice.randrange(3))
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        done = sum(shard.rows for shard in snapshot(features).shards)
        assert 0 < done < 60
        second = driver(root.parent)
        said, _ = second.communicate(timeout=300)
        assert second.returncode == 0, said
        assert f"{60 - done} structures extracted, {done} were there already" in said
    rows, rejects = content(root)
    assert rows.equals(content(local)[0])
    assert rejects == content(local)[1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_driver_and_its_local_cluster(tmp_path, monkeypatch, number, code):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'strata[ray]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    root = make(tmp_path / "store", 60, atoms=24)
    process = driver(tmp_path)
    features = StoreLayout(root).features(SOURCE)
    try:
        wait_for(lambda: features.is_dir() and entries(root) > 2)
        os.kill(process.pid, number)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, said
    assert "Traceback" not in said
    wait_for(lambda: not children_of(process.pid))
    content(root)  # whole, and nothing twice


def children_of(pid: int) -> list[int]:
    """Processes that were started by Ray for a driver: they carry its process id in their arguments."""
    mark = f"_{pid}/".encode()
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and mark in _read(path) and b"session_" in _read(path)
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
