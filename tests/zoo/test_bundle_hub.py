"""Bundles on the Hugging Face hub: a small server on this machine stands in for it."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

import strata
from core.errors import StrataError
from core.model_hub import parse_address
from tests.bundles import QUICK, made_model
from zoo.bundle import load_bundle, save_bundle
from zoo.bundle_hub import download, upload


class Hub:
    """Repositories by name: their commits, newest last, each a mapping from path to bytes."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, int]] = {}
        self.asked: list[str] = []
        self.private: list[bool] = []

    def commit(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit and return its hash."""
        commits = self.repositories.setdefault(name, [])
        commits.append(files)
        self.branches.setdefault(name, {})[branch] = len(commits) - 1
        return self.sha(name, len(commits) - 1)

    def sha(self, name: str, number: int) -> str:
        return hashlib.sha1(f"{name}{number}".encode()).hexdigest()

    def find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return hash and files of a revision."""
        commits = self.repositories[name]
        for number, files in enumerate(commits):
            if revision == self.sha(name, number) or self.branches[name].get(revision) == number:
                return self.sha(name, number), files
        return None


class Handler(BaseHTTPRequestHandler):
    """The few addresses of the hub that a bundle needs."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status=200, content=b"{}", **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(path)
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if is_api else parts[:2])
        if name not in self.hub.repositories:
            self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return
        revision = parts[5] if is_api and len(parts) > 5 else "main" if is_api else parts[3]
        found = self.hub.find(name, revision)
        if found is None:
            self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
            return
        sha, files = found
        if is_api and len(parts) > 4 and parts[4] == "tree":
            self.answer(content=[_entry(file, content) for file, content in files.items()])
        elif is_api:
            siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
            facts = {"id": name, "modelId": name, "sha": sha, "siblings": siblings, "private": False}
            self.answer(content=facts | {"tags": [], "downloads": 0, "likes": 0})
        else:
            content = files["/".join(parts[4:])]
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            self.answer(content=content, ETag=etag, X_Repo_Commit=sha)

    def do_POST(self):
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = path.strip("/").split("/")
        self.hub.asked.append(path)
        if not self.headers.get("Authorization"):
            self.answer(401, {"error": "unauthorised"})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.private.append(asked.get("visibility") == "private" or asked.get("private"))
            if name in self.hub.repositories:
                self.answer(409, {"error": "exists"})
                return
            self.hub.commit(name, {".gitattributes": b"*.safetensors filter=lfs"})
            self.answer(content={"url": f"http://{self.headers['Host']}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            self.answer(content={"errors": [], "warnings": []})
        elif "branch" in parts:
            name = "/".join(parts[2:4])
            self.hub.branches[name][parts[-1]] = self.hub.branches[name]["main"]
            self.answer()
        elif "preupload" in parts:
            files = json.loads(body)["files"]
            self.answer(
                content={
                    "files": [
                        {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files
                    ]
                }
            )
        elif "commit" in parts:
            name, branch = "/".join(parts[2:4]), parts[5]
            _, before = self.hub.find(name, branch)
            files = dict(before)
            for line in body.decode().splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
                elif said["key"] == "deletedFile":
                    files.pop(said["value"]["path"], None)
            sha = self.hub.commit(name, files, branch)
            url = f"http://{self.headers['Host']}/{name}/commit/{sha}"
            self.answer(content={"success": True, "commitUrl": url, "commitOid": sha})
        else:
            self.answer(404)


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub of this test's own."""
    handler = type("OneHub", (Handler,), {"hub": Hub()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))
    yield handler.hub
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a bundle by their path in it."""
    folder = save_bundle(made_model("magpie"), tmp_path_factory.mktemp("hub") / "volume")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_bundle_is_fetched_once_and_pinned(hub, files):
    first = hub.commit("lab/volume", {".gitattributes": b"x", **files})
    folder = download("hf://lab/volume")
    assert folder.name == first
    assert load_bundle(folder, QUICK).card.rows == 72
    assert not (folder / ".gitattributes").exists()
    hub.commit("lab/volume", {"README.md": b"another"})
    hub.asked.clear()
    assert strata.load(f"hf://lab/volume@{first}").card.name == "metals/volume"
    assert hub.asked == []


def test_a_tag_or_branch_is_asked_for_anew(hub, files):
    old = hub.commit("lab/volume", files, "v1")
    hub.commit("lab/volume", files, "main")
    assert download("hf://lab/volume@v1").name == old
    assert download("hf://lab/volume").name != old


def test_a_repository_with_other_files_is_refused_before_anything_is_fetched(hub, files, tmp_path):
    hub.commit("lab/evil", {**files, "pytorch_model.bin": b"x"})
    with pytest.raises(StrataError, match=r"pytorch_model\.bin' is none of the files that a bundle has"):
        download("hf://lab/evil")
    assert not any("resolve" in path for path in hub.asked)
    assert not (tmp_path / "cache" / "bundles" / "hf" / "lab" / "evil").exists()


def test_a_file_that_was_changed_on_the_hub(hub, files):
    hub.commit("lab/volume", files | {"golden.json": b"{}"})
    with pytest.raises(StrataError, match=r"golden\.json has another SHA-256"):
        strata.load("hf://lab/volume")


def test_what_is_not_there(hub, files):
    with pytest.raises(StrataError, match="hf://lab/none: there is no such repository, or it is private"):
        download("hf://lab/none")
    hub.commit("lab/volume", files)
    with pytest.raises(StrataError, match="the repository has no revision 'v9'"):
        download("hf://lab/volume@v9")


def test_without_a_network(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StrataError, match="hf://lab/volume: the hub cannot be reached"):
        download("hf://lab/volume")
    monkeypatch.setenv("STRATA_OFFLINE", "1")
    with pytest.raises(StrataError, match="STRATA_OFFLINE is set"):
        download("hf://lab/volume")


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://one",
        "hf://a/b/c",
        "hf://../x",
        "hf://a/..",
        "hf://a/b@",
        "hf://a/b@../../x",
        "hf://a/b c",
    ],
)
def test_addresses_that_are_none(text):
    with pytest.raises(StrataError, match="is no address of a model on the hub"):
        parse_address(text)


def test_what_is_sent_can_be_loaded(hub):
    model = made_model("magpie")
    address = upload(model, "hf://lab/volume")
    assert hub.private == [True]
    assert strata.load(address).card == model.card
    with pytest.raises(StrataError, match="is there already"):
        upload(model, "hf://lab/volume")
    hub.commit("lab/volume", {**hub.repositories["lab/volume"][-1], "old.txt": b"x"})
    again = upload(model, "hf://lab/volume", force=True)
    assert "old.txt" not in hub.repositories["lab/volume"][-1]
    assert again != address
    text = hub.repositories["lab/volume"][-1]["README.md"].decode()
    assert 'strata.load("hf://lab/volume")' in text


def test_a_branch_of_its_own(hub):
    address = upload(made_model("magpie"), "hf://lab/volume@trial")
    assert strata.load(address).card.rows == 72
    assert strata.load("hf://lab/volume@trial").card.rows == 72
