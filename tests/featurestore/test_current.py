"""The list of runs that were asked for last."""

from featurestore import current


def test_what_is_written_is_read_and_replaced(tmp_path):
    runs = tmp_path / "alpha" / "runs"
    assert current.read(runs) is None
    current.write(runs, ["b", "a"])
    assert current.read(runs) == {"a", "b"}
    assert (tmp_path / "alpha" / "current.json").read_text() == '[\n"a",\n"b"\n]\n'
    current.write(runs, [])
    assert current.read(runs) == set()
