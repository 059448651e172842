import io

from hypothesis import given
from hypothesis import strategies as st

from featurestore.tables.ranges import Piece, Ranges

CONTENT = bytes(range(256)) * 4000


@given(st.lists(st.tuples(st.integers(0, len(CONTENT) + 9), st.integers(0, 400_000)), max_size=6))
def test_it_reads_as_a_file_does(reads):
    fetched = []
    far, near = Ranges(lambda a, b: fetched.append((a, b)) or CONTENT[a:b], len(CONTENT)), io.BytesIO(CONTENT)
    for at, size in reads:
        assert far.seek(at) == near.seek(at)
        assert far.read(size) == near.read(size)
        assert far.tell() == near.tell()
    assert far.seek(-8, io.SEEK_END) == near.seek(-8, io.SEEK_END)
    assert far.read() == near.read()
    assert all(0 <= a < b <= len(CONTENT) for a, b in fetched)


def test_an_end_that_is_known_is_not_fetched():
    fetched = []
    end = Piece(len(CONTENT) - 60_000, memoryview(CONTENT[-60_000:]))
    file = Ranges(lambda a, b: fetched.append((a, b)) or CONTENT[a:b], len(CONTENT), end)
    for before in (8, 3000, 60_000):
        file.seek(-before, io.SEEK_END)
        assert file.read(before) == CONTENT[-before:]
    assert not fetched
    file.seek(5)
    assert file.read(9) == CONTENT[5:14]
    assert len(fetched) == 1


def test_a_piece_is_addressed_as_the_file_is():
    file = Ranges(lambda a, b: CONTENT[a:b], len(CONTENT))
    piece = file.piece(1000, 500)
    assert bytes(piece.pread(20, 1100)) == CONTENT[1100:1120]
    assert bytes(piece.pread(900, 1400)) == CONTENT[1400:1500]
