"""A writing process for the fault tests: commits numbered chunks and says which are acknowledged.

    python committer.py FOLDER CHUNKS [hold]

With `hold` it asks to be alone, and keeps the lock until its standard input is closed.
"""

import sys
from pathlib import Path

import pyarrow as pa

from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter

ROWS = 500


def chunk(number: int) -> pa.Table:
    """Return the chunk with this number: always the same rows."""
    names = [f"{number}-{i}" for i in range(ROWS)]
    columns = {"dataset": ["x"] * ROWS, "entry_id": names, "structure_id": names, "position": range(ROWS)}
    return pa.Table.from_pydict(columns, ENTRIES)


def say(word: object) -> None:
    """Tell the test at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(folder: Path, chunks: int, hold: bool) -> None:
    with TableWriter(folder, ENTRIES, "committer", alone=hold) as writer:
        say("writing")
        for number in range(chunks):
            if writer.commit(str(number), chunk(number), provenance={"number": str(number)}):
                say(number)
        if hold:
            sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["hold"])
