"""Files of rows between the stages."""

import pytest

from core.errors import StrataError
from evaluation.neighbours import Neighbour
from evaluation.rows_file import read_rows, write_rows

ROW = Neighbour("d", "p", "random-0", 'a "quoted", name', "b", "H2O", 1.5, 0.25)


def test_what_is_written_is_read_back(tmp_path):
    write_rows(tmp_path / "rows.csv", Neighbour, [ROW, ROW])
    assert read_rows(tmp_path / "rows.csv", Neighbour) == [ROW, ROW]


@pytest.mark.parametrize("damage", [lambda text: text[:-6], lambda text: text.replace("value", "worth")])
def test_a_damaged_or_missing_file_names_the_command(tmp_path, damage):
    path = tmp_path / "rows.csv"
    with pytest.raises(StrataError, match=r"rows.csv is missing; make it with: strata evaluate"):
        read_rows(path, Neighbour)
    write_rows(path, Neighbour, [ROW])
    path.write_text(damage(path.read_text()))
    with pytest.raises(StrataError, match=r"rows.csv is damaged .* strata evaluate"):
        read_rows(path, Neighbour)
