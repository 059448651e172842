"""Commits of several tables that appear whole or not at all.

Each table gets an entry that names the transaction, every table it spans, and the number of its entry
there. A reader shows an entry once all of these are there. The numbers are promised before the first entry
is written, which holds because the writers are alone in their tables; where one is taken all the same, what
was written is made void, and everything is committed anew.
"""

import secrets
import time
from types import TracebackType
from typing import Self

from core.atomic import failpoint, signals_held
from core.errors import StrataError
from featurestore.tables.log import Transaction
from featurestore.tables.writer import ConflictError, TableWriter

_TRIES = 20


class Together:
    """What several writers commit and retain inside the block becomes one transaction at its end.

        with TableWriter(…, alone=True) as runs, TableWriter(…, alone=True) as predictions:
            with Together(predictions, runs) as batch:
                predictions.commit(key, values)
                runs.commit(key, row)

    Where the block ends by an exception nothing is committed. With `joined` the block is a row of works, each
    of which stands alone: what was done before the exception is kept, and `keep` commits from time to time.
    What a writer is given is then held in memory, and becomes few shards.
    """

    def __init__(self, *writers: TableWriter, joined: bool = False) -> None:
        if not all(writer.alone for writer in writers):
            raise ValueError("the writers of a transaction have to be alone in their tables")
        self._writers = writers
        self._joined = joined
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        for writer in self._writers:
            writer.gather(joined=self._joined)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None or self._joined:
                self.commit()
        finally:
            for writer in self._writers:
                writer.gather_no_more()

    def keep(self, every: float) -> None:
        """Commit what there is, if the last commit is `every` seconds ago: a kill loses little."""
        if time.monotonic() - self._since >= every:
            self.commit()

    def commit(self) -> None:
        """Commit what was gathered so far."""
        with signals_held():
            for _ in range(_TRIES):
                changed = [writer for writer in self._writers if writer.has_changes]
                if self._try(changed):
                    break
                for writer in self._writers:
                    writer.read_again()
            else:
                raise StrataError(
                    f"{self._writers[0].layout.root}: a commit of several tables was overtaken {_TRIES} "
                    "times by others that do not heed the locks; stop them and run again"
                )
            for writer in self._writers:
                writer.settle()
            for writer in changed:
                writer.tidy()
        self._since = time.monotonic()

    @staticmethod
    def _try(changed: list[TableWriter]) -> bool:
        if len(changed) == 1:
            changed[0].flush()
            return True
        tables = {writer.name: writer.version + 1 for writer in changed}
        name = secrets.token_hex(16)
        try:
            for writer in changed:
                writer.append_member(Transaction(name, writer.name, tables))
                failpoint("member_committed")
        except ConflictError:
            return False
        return True
