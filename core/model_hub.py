"""Folders of files on the Hugging Face hub: `hf://ORG/NAME@REVISION`."""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.atomic import whole_folder
from core.download import OFFLINE_VARIABLE
from core.errors import StrataError
from core.lazy import need

PREFIX = "hf://"
ENDPOINT_VARIABLE = "HF_ENDPOINT"  # of huggingface_hub: another server
_ADDRESS = re.compile(
    r"hf://([A-Za-z0-9][\w.-]{0,95})/([A-Za-z0-9][\w.-]{0,95})(?:@([A-Za-z0-9][\w./-]{0,99}))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Address:
    """A repository of models, and a revision of it; none: what `main` is when it is asked."""

    owner: str
    name: str
    revision: str | None

    @property
    def repository(self) -> str:
        """Owner and name, as the hub has it."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_address(name: str | Path) -> bool:
    """Tell whether a model is named on the hub."""
    return str(name).startswith(PREFIX)


def parse_address(text: str) -> Address:
    """Read an address; raises `StrataError` for one that is none.

    >>> parse_address("hf://lab/band-gap@v1").revision
    'v1'
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or ".." in text:
        raise StrataError(
            f"{text[:200]!r} is no address of a model on the hub, such as hf://ORG/NAME@REVISION"
        )
    return Address(*found.groups())


def snapshot(
    address: Address, home: Path, check: Callable[[list[str]], None], max_bytes: int, beside: Collection[str]
) -> Path:
    """Return the folder in `home` that holds a repository as one commit has it, fetched unless it is there.

    A revision that is a whole commit is not asked for again once it is here. check: is given the paths of all
    files, and raises for others than there should be, before anything is fetched. beside: names at the top
    that are left out. Raises `StrataError` for a repository or revision that is not there or not open to this
    user, for more than `max_bytes`, and where the hub cannot be reached.
    """
    home = home / address.owner / address.name
    if address.revision and _COMMIT.fullmatch(address.revision) and (home / address.revision).is_dir():
        return home / address.revision
    with _explained(address):
        api = _api()
        facts = api.model_info(address.repository, revision=address.revision, files_metadata=True)
        files = {one.rfilename: one.size or 0 for one in facts.siblings or []}
        names = [name for name in files if name.partition("/")[0] not in beside]
        check(names)
        if sum(files.values()) > max_bytes:
            raise StrataError(f"{address}: {sum(files.values()):,} bytes, at most {max_bytes:,} are fetched")
        if not _COMMIT.fullmatch(str(facts.sha)):
            raise StrataError(f"{address}: the hub names no commit of it")
        folder = home / str(facts.sha)
        if not folder.is_dir():
            with whole_folder(folder) as new:
                api.snapshot_download(
                    address.repository, revision=facts.sha, local_dir=new, allow_patterns=names
                )
                for name in beside:
                    shutil.rmtree(new / name, ignore_errors=True)
    return folder


def send(folder: Path, address: Address, message: str, *, force: bool = False) -> str:
    """Send all files of a folder; returns the address with the commit that they are.

    A repository that is not there is made, and is private. Of one that is there all files are replaced, by
    `force`. Raises `StrataError` as `snapshot` does, and for a user without the right to write there.
    """
    with _explained(address):
        api = _api()
        is_there = api.repo_exists(address.repository)
        if is_there and not force:
            raise StrataError(f"{address} is there already; name another, or replace its files with --force")
        if not is_there:
            api.create_repo(address.repository, private=True)
        if address.revision:
            api.create_branch(address.repository, branch=address.revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=address.repository,
            folder_path=folder,
            revision=address.revision,
            delete_patterns="*",
            commit_message=message,
        )
    return f"{PREFIX}{address.repository}@{done.oid}"


def _api() -> Any:
    return need("huggingface_hub", "hub").HfApi(endpoint=os.environ.get(ENDPOINT_VARIABLE))


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Turn what the hub's client raises into an error that says what to do."""
    errors = need("huggingface_hub.errors", "hub")
    transport = errors.HfHubHTTPError.__bases__[0]  # whichever library this version of the client speaks by
    if os.environ.get(OFFLINE_VARIABLE):
        raise StrataError(
            f"{address}: {OFFLINE_VARIABLE} is set, and it is not in the cache; unset it, or name a commit "
            "that was fetched before"
        )
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise StrataError(f"{address}: HF_HUB_OFFLINE is set; unset it to reach the hub") from None
    except errors.RevisionNotFoundError:
        raise StrataError(f"{address}: the repository has no revision {address.revision!r}") from None
    except errors.GatedRepoError:
        raise StrataError(f"{address}: its owner must let you in first; ask for access on the hub") from None
    except errors.RepositoryNotFoundError:
        raise StrataError(
            f"{address}: there is no such repository, or it is private and this machine is not logged in "
            "(hf auth login)"
        ) from None
    except errors.HFValidationError as error:
        raise StrataError(f"{address} is no address that the hub takes: {error}") from None
    except errors.LocalTokenNotFoundError:
        raise StrataError(f"{address}: to write there, log in first: hf auth login") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        hint = "; log in with the right to write there: hf auth login" if status in (401, 403) else ""
        raise StrataError(f"{address}: the hub answered {status}{hint}") from None
    except (transport, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise StrataError(f"{address}: the hub cannot be reached ({error}); try again later") from None
