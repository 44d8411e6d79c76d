"""Temporary storage of converted rows, between reading a file and writing to the database."""

import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hypo_engine.data.formats import Account, Kept, LeftOut, Pair

KEPT_LEFT_OUT = 10_000


class Spool:
    """Pairs in a temporary file. Rows left out are counted, and the first of them kept."""

    def __init__(self, file: io.BufferedRandom) -> None:
        self._file = file
        self.kept = 0
        self.left_out: list[LeftOut] = []
        self.left_out_count = 0
        self.account = Account()

    def fill(self, rows: Iterable[Kept | LeftOut]) -> None:
        for row in rows:
            if isinstance(row, Kept):
                self.kept += 1
                pair = row.pair
                self.account.add(row.unused, row.score, pair)
                prompt = pair.prompt if isinstance(pair.prompt, str) else list(pair.prompt)
                line = json.dumps([row.row, prompt, pair.chosen, pair.rejected, *pair.extras])
                self._file.write(line.encode() + b"\n")
            else:
                self.left_out_count += 1
                if len(self.left_out) < KEPT_LEFT_OUT:
                    self.left_out.append(row)
                self.account.leave_out(row.reason)

    def rewound(self) -> io.BufferedRandom:
        """The file of pairs, one JSON list per line, rewound to its beginning."""
        self._file.seek(0)
        return self._file

    def pairs(self) -> Iterator[Kept]:
        for line in self.rewound():
            row, *parts = json.loads(line)
            yield Kept(row, Pair(*parts))

    def why_nothing_was_kept(self) -> str:
        """The message for a file without a single pair."""
        if not self.left_out_count:
            return "The file has no rows. Nothing was added."
        first = self.left_out[0]
        return (
            "No row became a pair, so nothing was added. "
            f"Row {first.row}: {first.reason}. Most common: {self.account.why_left_out(most=3)}."
        )


@contextmanager
def spooled(rows: Iterable[Kept | LeftOut]) -> Iterator[Spool]:
    """Write converted rows to a temporary file, which is deleted at the end of the block."""
    with tempfile.TemporaryFile() as file:
        spool = Spool(file)
        spool.fill(rows)
        yield spool
