import gzip
import json
import zipfile

import pytest

from core import archive
from core.archive import check, read_json, read_members, read_records
from core.errors import StrataError

ROWS = [{"id": "a", "x": 1.5}, {"id": "å", "x": None}]


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def test_zip_gz_and_plain(tmp_path):
    text = json.dumps(ROWS)
    make_zip(tmp_path / "a.json.zip", [("a.json", text)])
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "a.json").write_text(text)
    for name in ("a.json.zip", "a.json.gz", "a.json"):
        assert read_json(tmp_path / name) == ROWS


@pytest.mark.parametrize("name", ["../../x.json", "/etc/x.json", "C:/x.json", "a\\..\\..\\x.json"])
def test_members_outside_the_archive_are_refused(tmp_path, name):
    path = make_zip(tmp_path / "slip.zip", [("a.json", "[]"), (name, "[]")])
    with pytest.raises(StrataError, match="points outside"):
        read_json(path)
    assert [item.name for item in tmp_path.iterdir()] == ["slip.zip"]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.json")
    link.external_attr = 0o120777 << 16
    path = make_zip(tmp_path / "link.zip", [(link, "/etc/passwd")])
    with pytest.raises(StrataError, match="points outside"):
        read_json(path)


def test_bombs_are_refused_while_they_unpack(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", [("a.json", b"0" * 20_000_000)])
    with pytest.raises(StrataError, match="unpacks to more than"):
        read_json(path)
    packed = tmp_path / "bomb.json.gz"
    packed.write_bytes(gzip.compress(b"0" * 20_000_000))
    with pytest.raises(StrataError, match="unpacks to more than"):
        read_json(packed)


def test_cap_on_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 10)
    path = make_zip(tmp_path / "a.zip", [("a.json", json.dumps(ROWS))])
    with pytest.raises(StrataError, match="more than 10 bytes"):
        read_json(path)


def test_too_many_members_and_no_document(tmp_path):
    many = make_zip(tmp_path / "many.zip", [(f"{i}.json", "[]") for i in range(65)])
    with pytest.raises(StrataError, match="65 members"):
        read_json(many)
    none = make_zip(tmp_path / "none.zip", [("a.txt", "x")])
    with pytest.raises(StrataError, match=r"expected one \.json member, found 0"):
        read_json(none)


@pytest.mark.parametrize("keep", [0, 1, 40, -10])
def test_truncated_files(tmp_path, keep):
    text = json.dumps(ROWS * 50)
    whole = make_zip(tmp_path / "a.zip", [("a.json", text)]).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:keep])
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(text.encode())[: max(keep, 0) or keep])
    for name in ("cut.zip", "cut.json.gz"):
        with pytest.raises(StrataError, match=f"{name}: "):
            read_json(tmp_path / name)


def test_not_utf8_names_the_byte(tmp_path):
    path = tmp_path / "latin.json.gz"
    path.write_bytes(gzip.compress('["Å"]'.encode("latin-1")))
    with pytest.raises(StrataError, match=r"not UTF-8 at byte 2 \(0xc5\)"):
        read_json(path)


def test_not_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("<html>403 Forbidden</html>")
    with pytest.raises(StrataError, match="not JSON"):
        read_json(path)
    with pytest.raises(StrataError, match="cannot be read"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["[]", " [ ] ", '[{"a": [1, 2]}, null, 3.5 ,"x"]\n', "[1]"])
def test_records_one_by_one_are_those_of_the_whole(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    assert list(read_records(path)) == json.loads(text)


@pytest.mark.parametrize("text", ["[1, 2", "[1 2]", "[1,]", "[", "[1, x]"])
def test_a_list_that_is_torn(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(StrataError, match=r"x\.json: not JSON"):
        list(read_records(path))


def test_another_document_than_a_list(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    with pytest.raises(StrataError, match="expected a JSON list of records, got dict"):
        list(read_records(path))


@pytest.mark.parametrize(("text", "good"), [(" [1]", True), ("{}", True), ("hello", False), ("", False)])
def test_check_reads_to_the_end_and_looks_at_the_beginning(tmp_path, text, good):
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(text.encode()))
    if good:
        check(path, ".gz")
    else:
        with pytest.raises(StrataError, match="unlike a JSON"):
            check(path, ".gz")
    path.write_bytes(gzip.compress(b"[1, 2]" * 100)[:-4])
    with pytest.raises(StrataError, match="damaged"):
        check(path, ".gz")


def test_members_by_path_and_more_of_them_where_that_is_allowed(tmp_path):
    others = [(f"a/{k}.py", "") for k in range(archive.MAX_MEMBERS)]
    path = make_zip(tmp_path / "a.zip", [("a/x.pt", "one"), ("a/b/x.pt", "two"), *others])
    with pytest.raises(StrataError, match="66 members in the archive, at most 64 are accepted"):
        read_members(path, lambda name: name == "x.pt")
    with pytest.raises(StrataError, match=r"two members are named x\.pt"):
        read_members(path, lambda name: name == "x.pt", max_members=66)
    found = read_members(path, lambda name: name == "a/b/x.pt", by_path=True, max_members=66)
    assert found == {"a/b/x.pt": b"two"}


@pytest.mark.parametrize("reader", [read_json, lambda path: list(read_records(path))])
def test_json_that_is_nested_or_too_long_is_an_error_with_the_file(tmp_path, reader):
    path = tmp_path / "a.json"
    path.write_text("[" * 200_000)
    with pytest.raises(StrataError, match=r"a.json: not JSON: nested too deeply"):
        reader(path)
    path.write_text(f"[{'9' * 5000}]")
    with pytest.raises(StrataError, match=r"a.json: not JSON: Exceeds the limit"):
        reader(path)


def test_zips_that_are_encrypted_or_packed_in_an_unknown_way(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.json", json.dumps(ROWS) * 9)])
    plain = path.read_bytes()
    for flag, method, words in ((1, 8, "encrypted"), (0, 97, "compression method")):
        changed = bytearray(plain)
        for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = plain.index(start) + at
            changed[place] |= flag
            changed[place + 2] = method
        path.write_bytes(changed)
        for reader in (read_json, lambda path: read_members(path, lambda _name: True)):
            with pytest.raises(StrataError, match=f"a.zip cannot be read: .*{words}"):
                reader(path)
