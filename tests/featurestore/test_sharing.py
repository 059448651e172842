"""A store goes to a remote and comes back; a laptop without the heavy stacks works on it."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

import featurestore
from core.errors import StrataError
from featurestore.tables import maintenance
from tests.stores import small_store

pytest.importorskip("dvc")

TABLES = ("entries", "targets", "structures", "features", "extractions", "splits")


def dvc(folder, *arguments, status=0, **environment):
    """Run DVC in a folder and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder whose store DVC keeps, one output per table."""
    folder = tmp_path_factory.mktemp("shared")
    small_store(folder / "store")
    dvc(folder, "init", "--no-scm", "--quiet")
    (folder / ".dvcignore").write_text(".*.lock\n.tmp-*\n")
    dvc(folder, "add", "--quiet", *(f"store/{name}" for name in TABLES))
    return folder


def somewhere_else(kept, folder):
    """What a colleague has after cloning: DVC's small files, and no data."""
    folder.mkdir()
    shutil.copytree(kept / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    (folder / "store").mkdir()
    for path in [*kept.glob("store/*.dvc"), kept / ".dvcignore"]:
        shutil.copy(path, folder / path.relative_to(kept))
    return folder


def same(one, two):
    assert not maintenance.verify(two / "store").damages
    first, second = (featurestore.open(root / "store").matrix("beta", "gap") for root in (one, two))
    assert (first.X == second.X).all()
    assert (first.y == second.y).all()


def test_pushed_to_a_local_remote_and_pulled(kept, tmp_path):
    dvc(kept, "remote", "add", "--default", "--force", "here", str(tmp_path / "remote"))
    dvc(kept, "push", "--quiet")
    laptop = somewhere_else(kept, tmp_path / "laptop")
    dvc(laptop, "pull", "--quiet")
    same(kept, laptop)


@pytest.mark.slow
def test_our_verify_finds_what_dvc_brought_back_damaged(kept, tmp_path):  # row 40
    dvc(kept, "remote", "add", "--default", "--force", "here", str(tmp_path / "remote"))
    dvc(kept, "push", "--quiet")
    laptop = somewhere_else(kept, tmp_path / "laptop")
    dvc(laptop, "pull", "--quiet")
    objects = [path for path in (laptop / ".dvc" / "cache").rglob("*") if path.is_file()]
    shard = max(objects, key=lambda path: path.stat().st_size)  # vectors are the largest
    shard.chmod(0o644)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    shutil.rmtree(laptop / "store" / "features")
    dvc(laptop, "checkout", "--quiet")
    with pytest.raises(StrataError, match="damaged since it was committed"):
        maintenance.require_sound(laptop / "store", ("features",))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def s3(monkeypatch):
    """A local S3 server with one bucket; gives its address."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed (extra dev-s3)")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed (extra dev-s3)")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    import boto3

    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="vectors")
    yield address
    running.stop()


def test_pushed_to_an_object_store_and_pulled(kept, tmp_path, s3):
    dvc(kept, "remote", "add", "--default", "--force", "cloud", "s3://vectors/dvc")
    dvc(kept, "remote", "modify", "cloud", "endpointurl", s3)
    dvc(kept, "push", "--quiet")
    laptop = somewhere_else(kept, tmp_path / "laptop")
    dvc(laptop, "pull", "--quiet")
    same(kept, laptop)


def test_asked_and_copied_from_an_object_store(kept, tmp_path, s3):
    import s3fs

    from featurestore.remote import ask, pull

    options = {"client_kwargs": {"endpoint_url": s3}}
    s3fs.S3FileSystem(**options).put(str(kept / "store"), "vectors/store", recursive=True)
    with ask("s3://vectors/store", **options) as connection:
        assert connection.sql("SELECT count(*) FROM features").fetchall() == [(50,)]
        query = "SELECT sum(value) FROM targets"
        assert connection.sql(query).fetchall() == featurestore.open(kept / "store").sql(query).fetchall()
    pull("s3://vectors/store", tmp_path / "laptop" / "store", **options)
    same(kept, tmp_path / "laptop")


LAPTOP = """
import sys
from importlib.abc import MetaPathFinder

class NotInstalled(MetaPathFinder):
    heavy = set("torch tensorflow keras dgl alignn jarvis matminer pymatgen ase dvc".split())

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.heavy:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import featurestore
from heads.ridge import Ridge
{more}
store = featurestore.open(sys.argv[1])
data = store.matrix("alpha", "energy", split="random:0", parts=("train", "val"))
test = store.matrix("alpha", "energy", split="random:0", parts=("test",))
for head in ({heads}):
    head.fit(data.X[data.part == "train"], data.y[data.part == "train"])
    print(len(head.predict(test.X)), len(test))
assert not NotInstalled.heavy & set(sys.modules)
print(store.sql("SELECT count(*) FROM features").fetchall(), store.near("alpha-1", 3).num_rows)
"""


@pytest.mark.parametrize(
    ("more", "heads"),
    [("", "Ridge(),"), ("from heads.lightgbm import LightGBM", "Ridge(), LightGBM(n_estimators=5)")],
    ids=["core", "lightgbm"],
)
def test_a_laptop_without_torch_and_tensorflow_fits_heads(shared_store, start, more, heads):
    if more:
        pytest.importorskip("lightgbm")
    out, err = start("-c", LAPTOP.format(more=more, heads=heads), shared_store).communicate(timeout=60)
    lines = out.splitlines()
    assert lines[:-1] == ["4 4"] * (2 if more else 1), err
    assert lines[-1] == "[(50,)] 3"
