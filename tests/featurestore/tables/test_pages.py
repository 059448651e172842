import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import StrataError
from featurestore.tables.pages import CorruptPageError, load, plain_pages
from featurestore.tables.schema import vector_type
from featurestore.tables.shards import write_parquet
from featurestore.tables.vectors import read_columns

ROWS = 2500  # more than one page
WIDTH = 256
VECTOR = vector_type(WIDTH)


@pytest.fixture
def table():
    numbers = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), type=VECTOR)
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", VECTOR, nullable=False)])
    return pa.Table.from_arrays([pa.array(range(ROWS)), column], schema=schema), numbers


def chunk_of(path):
    return pq.read_metadata(path).row_group(0).column(1)


def test_pages_of_the_writer_are_read_as_they_were_written(table, tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(table[0], path)
    with path.open("rb") as file:
        pages = plain_pages(file.fileno(), chunk_of(path), WIDTH)
        assert len(pages) > 1
        assert [page.rows for page in pages[:-1]] == [pages[0].rows] * (len(pages) - 1)
        found = np.concatenate([load(file.fileno(), page, WIDTH, bytearray()) for page in pages])
    assert np.array_equal(found, table[1])


def test_no_flipped_bit_changes_a_number_silently(table, tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(table[0], path)
    whole, chunk = path.read_bytes(), chunk_of(path)
    start, caught = chunk.data_page_offset, 0
    anywhere = np.random.default_rng(1).integers(0, chunk.total_compressed_size, 60)
    for offset in [*range(25), *anywhere]:  # all of the first header, and anywhere
        at = start + int(offset)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            with path.open("rb") as file:
                pages = plain_pages(file.fileno(), chunk, WIDTH)
                if pages is None:  # pyarrow is asked
                    found = [read_columns(path, ["v"])["v"].combine_chunks().flatten().to_numpy()]
                else:
                    found = [load(file.fileno(), page, WIDTH, bytearray()) for page in pages]
        except (CorruptPageError, StrataError):
            caught += 1
        else:  # a field of the header that nobody needs
            assert np.array_equal(np.concatenate(found).reshape(-1, WIDTH), table[1])
            assert offset < 25
    assert caught > 60


@pytest.mark.parametrize(
    "form",
    [
        {"compression": "zstd"},
        {"compression": "none", "use_dictionary": True},
        {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
        {"compression": "none", "use_dictionary": False, "use_byte_stream_split": ["v.list.element"]},
    ],
)
def test_columns_of_another_form_are_left_to_pyarrow(table, tmp_path, form):
    path = tmp_path / "x.parquet"
    pq.write_table(table[0], path, write_page_checksum=True, **form)
    with path.open("rb") as file:
        assert plain_pages(file.fileno(), chunk_of(path), WIDTH) is None


def test_a_page_cut_short_is_noticed(table, tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(table[0], path)
    chunk = chunk_of(path)
    path.write_bytes(path.read_bytes()[: chunk.data_page_offset + 100])
    with path.open("rb") as file, pytest.raises(CorruptPageError):
        load(file.fileno(), plain_pages(file.fileno(), chunk, WIDTH)[0], WIDTH, bytearray())
