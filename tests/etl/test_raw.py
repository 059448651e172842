import hashlib

import pytest

from core import download, source
from core.errors import StrataError
from etl import raw
from etl.cards import DatasetCard, load_card

DATA = b"published bytes"
HASH = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64


def card(**changes):
    return DatasetCard.model_validate(
        {
            "name": "mine",
            "title": "t",
            "note": "n",
            "provider": "jarvis",
            "source": {"file": "mine.json.zip", "url": "https://example.org/mine"} | changes,
            "id_column": "id",
            "structure": {"column": "atoms", "format": "jarvis"},
            "material_class": "3D",
            "expected_rows": 1,
            "properties": {"g": {"column": "g", "unit": "eV", "description": "d", "origin": "measured"}},
            "licence": "CC-BY-4.0",
            "citation": "c",
        }
    )


@pytest.fixture
def folders(tmp_path, monkeypatch):
    local, cache = tmp_path / "raw", tmp_path / "cache"
    local.mkdir()
    monkeypatch.setenv(source.RAW_VARIABLE, str(local))
    monkeypatch.setenv(source.CACHE_VARIABLE, str(cache))
    return local, cache


def put(folder, lock=None):
    folder.mkdir(exist_ok=True)
    (folder / "mine.json.zip").write_bytes(DATA)
    if lock:
        (folder / source.LOCK).write_text(f"{lock}  mine.json.zip\n")


def test_the_lock_beside_the_file_vouches_even_against_the_card(folders):
    put(folders[0], lock=HASH)
    found = raw.find(card(sha256=OTHER))
    assert (found.sha256, found.vouched_for_by) == (HASH, "lock")


def test_without_a_lock_the_card_vouches(folders):
    put(folders[0])
    assert raw.find(card(sha256=HASH)).vouched_for_by == "card"


@pytest.mark.parametrize("place", ["lock", "card"])
def test_another_hash_is_an_error_with_both(folders, place):
    put(folders[0], lock=OTHER if place == "lock" else None)
    with pytest.raises(StrataError, match=f"{HASH}.*expects {OTHER}"):
        raw.find(card(sha256=OTHER if place == "card" else None))


def test_nothing_vouches(folders):
    put(folders[0])
    with pytest.raises(StrataError, match=f"nothing vouches.*{HASH}.*sha256sum mine.json.zip >> SHA256SUMS"):
        raw.find(card())
    assert raw.find(card(unverified=True)).vouched_for_by == "nothing"


def test_unverified_does_not_overrule_a_lock(folders):
    put(folders[0], lock=OTHER)
    with pytest.raises(StrataError, match="expects"):
        raw.find(card(unverified=True))


def test_the_cache_comes_second(folders):
    local, cache = folders
    put(cache, lock=HASH)
    assert raw.find(card()).path.parent == cache
    put(local, lock=HASH)
    assert raw.find(card()).path.parent == local


def test_missing_says_where_it_was_looked_for_and_how_to_get_it(folders):
    with pytest.raises(StrataError) as caught:
        raw.find(card())
    text = str(caught.value)
    for part in ("mine.json.zip", str(folders[0]), str(folders[1]), "https://example.org/mine", "CC-BY-4.0"):
        assert part in text


def test_missing_with_the_variable_unset(folders, monkeypatch):
    monkeypatch.delenv(source.RAW_VARIABLE)
    with pytest.raises(StrataError, match="STRATA_RAW is not set"):
        raw.find(card())


def test_a_raw_folder_that_does_not_exist(folders, monkeypatch):
    monkeypatch.setenv(source.RAW_VARIABLE, str(folders[0] / "none"))
    with pytest.raises(StrataError, match="not a folder"):
        raw.find(card())


def test_broken_lock_names_the_line(folders):
    put(folders[0])
    (folders[0] / source.LOCK).write_text(f"\n{HASH}  other.zip\nnonsense\n")
    with pytest.raises(StrataError, match=r"SHA256SUMS, line 3.*'nonsense'"):
        raw.find(card())


def test_looking_makes_no_folder(folders):
    with pytest.raises(StrataError):
        raw.find(card())
    assert not folders[1].exists()


def test_a_card_without_a_file():
    embedded = card().model_copy(update={"source": None})
    with pytest.raises(StrataError, match="names no file"):
        raw.find(embedded)


@pytest.fixture
def server(monkeypatch):
    """Downloads that succeed without a network; the list of the files that were asked for."""
    asked = []

    def fetch(wanted, folder, progress=None):
        asked.append(wanted.file)
        put(folder, lock=HASH)

    monkeypatch.setattr(raw, "fetch", fetch)
    monkeypatch.delenv(download.OFFLINE_VARIABLE, raising=False)
    return asked


def test_what_is_missing_is_downloaded_into_the_cache(folders, server):
    found = raw.obtain(card())
    assert (found.path.parent, found.sha256, found.vouched_for_by) == (folders[1], HASH, "lock")
    assert raw.obtain(card()) == found
    assert server == ["mine.json.zip"]


def test_what_is_there_is_not_downloaded(folders, server):
    put(folders[0], lock=HASH)
    assert raw.obtain(card()).path.parent == folders[0]
    assert server == []


def test_a_bad_local_file_is_an_error_and_no_reason_to_download(folders, server):
    put(folders[0])
    with pytest.raises(StrataError, match="nothing vouches"):
        raw.obtain(card())
    assert server == []


def test_offline(folders, server, monkeypatch):
    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")
    with pytest.raises(source.MissingFileError, match="strata fetch mine"):
        raw.obtain(card())
    assert server == []


def test_a_version_that_is_there_is_read_before_one_that_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv(source.RAW_VARIABLE, str(tmp_path))
    monkeypatch.setenv(source.CACHE_VARIABLE, str(tmp_path / "cache"))
    card = load_card("jarvis_3d")
    assert raw.version_at_hand(card) == card
    (tmp_path / card.versions["dft_3d_2022"].file).write_bytes(b"")
    assert raw.version_at_hand(card).version == "dft_3d_2022"
    (tmp_path / card.versions["dft_3d_2021"].file).write_bytes(b"")
    assert raw.version_at_hand(card).version == "dft_3d_2021"


def test_ones_own_folder_is_known_by_its_files(tmp_path):
    (tmp_path / "a.cif").write_text("a")
    (tmp_path / "b.csv").write_text("b")
    before = raw.own(tmp_path)
    assert before.vouched_for_by == "user"
    (tmp_path / ".DS_Store").write_text("x")
    assert raw.own(tmp_path) == before
    (tmp_path / "a.cif").rename(tmp_path / "c.cif")
    assert raw.own(tmp_path).sha256 != before.sha256
    assert raw.own(tmp_path / "b.csv").sha256 == hashlib.sha256(b"b").hexdigest()
    with pytest.raises(StrataError, match="does not exist"):
        raw.own(tmp_path / "none")
