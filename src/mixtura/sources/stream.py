"""Rows that come piece by piece, in every pass anew: cut along the grid, read ahead, checked against the first pass."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import cycle
from os import PathLike
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray, IntArray
from mixtura.exceptions import SourceChangedError
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.progress import report_rows
from mixtura.sources.ahead import DEPTH, read_ahead
from mixtura.sources.local import LocalSource, find_ranks
from mixtura.sources.pieces import Piece, Rows
from mixtura.sources.spool import log, open_spool
from mixtura.sources.tables import check_weight, read_weight

CHUNK_BYTES = 1 << 24  # of rows that are handed out at a time; four times as much is held: no size is faster
Range = tuple[int, int]  # first row, and the one after the last


class StreamSource(LocalSource):
    """Rows that are not in memory as one array.

    What tells how many rows there are and which have a weight, or what is costly to decode, is read once beforehand
    (the census), and spooled in the same go if that pays.

    Parameters
    ----------
    rows : Rows
        Where the rows come from.
    weight : array-like of shape (n,), optional
        Row weights that do not come with the rows.
    spool : None, bool or path
        As in `as_source`.
    """

    def __init__(
        self,
        rows: Rows,
        weight: Any = None,
        *,
        spool: bool | str | PathLike[str] | None = None,
    ) -> None:
        self._rows = rows
        self._state = rows.state()
        self._wish = spool
        self.n_features, self.names = rows.n_features, rows.names
        blocks = CHUNK_BYTES // (BLOCK_ROWS * rows.n_features * rows.dtype.itemsize)
        self._chunk_rows = BLOCK_ROWS * max(1, blocks)
        self._passes = 0
        self._ends: bytes | None = None  # digest of the first and the last block of rows
        self._weight: FloatArray | None = None
        self._positive: IntArray | None = None  # rows with a weight, in each block, if weights come with the rows
        self._counted = False
        self._expected = rows.n_rows  # None until they have been counted
        if rows.n_rows is None or rows.weighted or rows.once:
            self._take_census()
        else:
            self.n_rows = rows.n_rows
        self._weight = read_weight(weight, self.n_rows)

    @property
    def fingerprint(self) -> str:
        """Digest of the shape, sizes and times of files, and the first and last block of rows."""
        if self._ends is None:
            last = max(self.n_rows - 1, 0) // BLOCK_ROWS * BLOCK_ROWS
            blocks = self._read(
                [(0, min(BLOCK_ROWS, self.n_rows)), (last, self.n_rows)] if last else [(0, self.n_rows)]
            )
            ends = _Ends(self._rows.weighted)
            for x, weight in blocks:
                ends.see(x, weight)
            self._ends = ends.digest()
        state = [list(told.values()) for told in self._state.values()]
        digest = blake2b(f"{self.n_rows} {self.n_features} {state}".encode() + self._ends, digest_size=16)
        if self._weight is not None:
            digest.update(self._weight[:BLOCK_ROWS].tobytes() + self._weight[-BLOCK_ROWS:].tobytes())
        return digest.hexdigest()

    def locate(self, row: int) -> str:
        """Return where a row is, in words, for errors."""
        return self._rows.locate(row)

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the rows of one pass."""
        if self._passes:
            self._take_census()  # whoever reads again will read often
        yield from self._pass()

    @property
    def n_positive(self) -> int:
        """Rows of positive weight."""
        if self._weight is not None:
            return int(np.count_nonzero(self._weight))
        return self.n_rows if self._positive is None else int(self._positive.sum())

    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the rows of these ascending ranks among those of positive weight, with their weights."""
        self._take_census()
        if self._weight is not None:
            rows = find_ranks(self._weight, ranks)
        else:
            rows = ranks if self._positive is None else self._find_ranks(self._positive, ranks)
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []
        found = list(self._read([(int(run[0]), int(run[-1]) + 1) for run in runs]))
        x = np.concatenate([np.empty((0, self.n_features)), *(x for x, _ in found)])
        if self._weight is not None:
            return x, self._weight[rows]
        weights = [np.ones(len(x)) if weight is None else weight for x, weight in found]
        return x, np.concatenate([np.empty(0), *weights])

    def _find_ranks(self, positive: IntArray, ranks: IntArray) -> IntArray:
        """Return where the positive weights of these ascending ranks are."""
        ends = np.cumsum(positive)
        blocks = np.searchsorted(ends, ranks, side="right")
        touched, starts = np.unique(blocks, return_index=True)
        ranges = [(b * BLOCK_ROWS, min((b + 1) * BLOCK_ROWS, self.n_rows)) for b in touched.tolist()]
        found = [np.empty(0, dtype=np.int64)]
        for here, (first, _), (_, weight) in zip(
            np.split(ranks, starts[1:]), ranges, self._read(ranges, values=False), strict=True
        ):
            before = ends[first // BLOCK_ROWS] - positive[first // BLOCK_ROWS]
            found.append(first + np.flatnonzero(np.asarray(weight))[here - before])
        return np.concatenate(found)

    def _read(self, ranges: Sequence[Range], *, values: bool = True) -> Iterator[tuple[Array, FloatArray | None]]:
        """Yield the rows of ascending ranges, or no values of them, and the weights that come with them."""
        with closing(self._pieces()) as pieces:
            first, piece = 0, next(pieces)
            for begin, end in ranges:
                x = np.empty((end - begin, self.n_features if values else 0), self._rows.dtype)
                weight = np.empty(end - begin) if self._rows.weighted else None
                while begin < end:
                    while begin >= first + piece.n_rows:
                        first, piece = first + piece.n_rows, next(pieces)
                    stop = min(end, first + piece.n_rows)
                    wanted = slice(len(x) - (end - begin), len(x) - (end - stop))
                    piece.write(
                        begin - first, x[wanted] if values else None, None if weight is None else weight[wanted]
                    )
                    begin = stop
                yield x, weight

    def _pieces(self) -> Generator[Piece, None, None]:
        yield from self._rows.pieces()
        raise SourceChangedError(f"the source changed: its rows end before row {self.n_rows}")

    def _take_census(self) -> None:
        """Count the rows and those of positive weight, and spool what is costly, unless that is done."""
        if self._counted:
            return
        self._counted = True
        rows = self._rows
        spool = open_spool(self._wish, rows)
        if rows.n_rows is not None and not rows.weighted and spool is None:
            return
        n_rows, positive = 0, [np.empty(0, dtype=np.int64)]
        with closing(self._pass()) as chunks:
            for chunk in chunks:
                n_rows += len(chunk)
                if rows.weighted and chunk.weight is not None:
                    starts = np.arange(0, len(chunk), BLOCK_ROWS)
                    positive.append(np.add.reduceat(chunk.weight > 0, starts, dtype=np.int64))
                if spool is not None:
                    try:
                        spool.write(chunk)
                    except OSError as error:
                        self._lament(error)
                        spool = None
                report_rows(len(chunk))
        self._expected = self.n_rows = n_rows
        if rows.weighted:
            self._positive = np.concatenate(positive)
            if not self._positive.any() and n_rows:
                raise ValueError("all sample_weight are zero: at least one row needs a positive weight")
        if spool is not None:
            self._rows = spool

    def _lament(self, error: OSError) -> None:
        """Warn that there is no spool, or raise if there is no other way to the rows."""
        if self._rows.once:
            error.add_note("the spool of rows that can be read only once; give spool= a directory with more room")
            raise error
        log.warning("the spool cannot be written (%s): the rows are decoded in every pass", error)

    def _pass(self) -> Generator[Chunk, None, None]:
        """Yield the rows of one pass, which is checked against the first."""
        self._passes += 1
        self._check_state()
        count, ends = 0, _Ends(self._rows.weighted)
        with closing(read_ahead(self._fill())) as chunks:
            for chunk in chunks:
                self._check_weight(chunk)
                ends.see(chunk.x, chunk.weight)
                count += len(chunk)
                yield chunk
        self._check_state()
        if self._expected not in (None, count):
            raise SourceChangedError(
                f"the source changed between passes: it had {self._expected} rows, and {count} in pass {self._passes}"
            )
        if self._ends not in (None, ends.digest()):
            raise SourceChangedError(
                f"the source changed between passes: its first or last {BLOCK_ROWS} rows are others in pass "
                f"{self._passes} ({self.locate(0)}; {self.locate(count - 1)})"
            )
        self._ends = ends.digest()

    def _fill(self) -> Generator[Chunk, None, None]:
        """Yield chunks in buffers of which each is used again when its chunk has been left behind."""
        size = self._chunk_rows
        if self._expected is not None:
            size = min(size, -(-max(self._expected, 1) // BLOCK_ROWS) * BLOCK_ROWS)
        # One with the reader of chunks, some that wait, one finished and not yet among them, and one that is filled.
        buffers = cycle([_Buffer(size, self._rows) for _ in range(DEPTH + 2)])
        buffer, row, filled = next(buffers), 0, 0
        try:
            for piece in self._rows.pieces():
                done = 0
                while done < piece.n_rows:
                    m = min(piece.n_rows - done, size - filled)
                    buffer.write(piece, done, filled, m)
                    done, filled = done + m, filled + m
                    if filled == size:
                        yield self._chunk(buffer, row, filled)
                        buffer, row, filled = next(buffers), row + filled, 0
        except Exception as error:
            error.add_note(f"while rows were read in pass {self._passes}, from row {row + filled} on")
            raise
        if filled:
            yield self._chunk(buffer, row, filled)

    def _chunk(self, buffer: _Buffer, row: int, n: int) -> Chunk:
        weight = None if buffer.weight is None else buffer.weight[:n]
        if self._weight is not None:
            weight = self._weight[row : row + n]
        return Chunk(buffer.x[:n], weight, row // BLOCK_ROWS)

    def _check_weight(self, chunk: Chunk) -> None:
        if self._rows.weighted and chunk.weight is not None:
            check_weight(chunk.weight, lambda row: self.locate(chunk.first * BLOCK_ROWS + row))

    def _check_state(self) -> None:
        """Refuse files that are not as they were when this source was made."""
        now = self._rows.state()
        for name, told in now.items():
            for what, value in told.items():
                if value != (before := self._state[name][what]):
                    raise SourceChangedError(
                        f"{name}: the source changed between passes: its {what} was {before}, now {value}"
                    )


class _Buffer:
    """Room for a chunk."""

    def __init__(self, n_rows: int, rows: Rows) -> None:
        self.x = np.empty((n_rows, rows.n_features), rows.dtype)
        self.weight = np.empty(n_rows) if rows.weighted else None

    def write(self, piece: Piece, start: int, at: int, n: int) -> None:
        """Write `n` rows of a piece from number `start` on to row `at`."""
        piece.write(start, self.x[at : at + n], None if self.weight is None else self.weight[at : at + n])


class _Ends:
    """The first and the last block of rows that were seen."""

    def __init__(self, weighted: bool) -> None:
        self._weighted = weighted
        self._first = self._last = b""

    def see(self, x: Array, weight: FloatArray | None) -> None:
        """Look at rows that start on the grid."""
        if len(x):
            self._first = self._first or self._bytes(x[:BLOCK_ROWS], weight, slice(BLOCK_ROWS))
            begin = (len(x) - 1) // BLOCK_ROWS * BLOCK_ROWS
            self._last = self._bytes(x[begin:], weight, slice(begin, None))

    def _bytes(self, x: Array, weight: FloatArray | None, rows: slice) -> bytes:
        own = weight[rows].tobytes() if self._weighted and weight is not None else b""
        return x.astype(np.float64).tobytes() + own

    def digest(self) -> bytes:
        """Digest both."""
        return blake2b(self._first + self._last, digest_size=16).digest()
