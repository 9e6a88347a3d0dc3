"""Sources that fail, change or cannot be: each fault is an error that names it, or is survived with the same bits."""

import errno
import logging
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixtura import GaussianMixture, MixtureModel, as_source
from mixtura.exceptions import SourceChangedError
from mixtura.families import Poisson
from mixtura.grid import BLOCK_ROWS
from mixtura.progress import listen
from mixtura.sources import spool, stream

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20 * BLOCK_ROWS + 5, 2))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of one block."""
    monkeypatch.setattr(stream, "CHUNK_BYTES", 1)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [t for t in threading.enumerate() if t.name == "mixtura_read_ahead"]


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet")


def write_parquet(path, columns, **options):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, **options)
    return path


def read_all(source):
    """Go through the rows once; return how many there were."""
    return sum(source.map_rows(len))


# ---------------------------------------------------------------- between passes, and within one


def dies(calls, bad_call):
    """Return a callable whose iterator raises in block 3 of one call; `calls` counts them."""

    def make():
        calls.append(None)
        for block in range(5):
            if (len(calls), block) == (bad_call, 3):
                raise ConnectionError("the line is dead")
            yield X[:BLOCK_ROWS]

    return make


def read_often(data):
    source = as_source(data)
    for _ in range(5):
        read_all(source)


@pytest.mark.parametrize("bad_pass", [1, 2, 4])
def test_what_a_source_raises_comes_through_with_pass_and_row(bad_pass):
    with pytest.raises(ConnectionError, match="the line is dead") as caught:
        read_often(dies([], bad_pass))
    assert caught.value.__notes__ == [f"while rows were read in pass {bad_pass}, from row {3 * BLOCK_ROWS} on"]


@pytest.mark.parametrize("bad_call", [1, 3, 7])
def test_a_fit_that_fails_for_its_source_leaves_the_estimator_as_it_was(bad_call):
    model = GaussianMixture(2, tol=0, max_iter=5, random_state=0)
    with pytest.raises(ConnectionError, match="the line is dead"):
        model.fit(dies([], bad_call))
    assert not hasattr(model, "means_")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:-1], "had 5125 rows, and 5124 in pass 2"),
        (lambda x: np.vstack([x, x[:3]]), "had 5125 rows, and 5128 in pass 2"),
        (lambda x: np.vstack([x[:1] + 1, x[1:]]), "first or last 1024 rows"),
        (lambda x: np.vstack([x[:-1], x[-1:] + 1]), "first or last 1024 rows"),
    ],
    ids=["shorter", "longer", "first", "last"],
)
def test_other_rows_in_a_later_pass_are_refused(change, words):
    rows = [X[: 5 * BLOCK_ROWS + 5]]
    source = as_source(lambda: iter(rows))
    read_all(source)
    rows[0] = change(rows[0])
    passes = source._passes
    with pytest.raises(SourceChangedError, match=words.replace("pass 2", f"pass {passes + 1}")):
        read_all(source)


def test_an_iterator_that_poses_as_a_new_one_each_time_is_found_out():
    again = iter([X[:2000], X[2000:]])
    source = as_source(lambda: again)
    with pytest.raises(SourceChangedError, match="and 0 in pass 2"):
        read_all(source)
    with pytest.raises(SourceChangedError, match="rows end before row 20485"):
        source.sample(1, np.random.default_rng(0))


@pytest.mark.parametrize("change", ["shrinks", "grows", "is touched", "is gone"])
def test_a_file_that_changes_between_passes_is_named(change, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    source = as_source(path)
    read_all(source)
    if change == "shrinks":
        os.truncate(path, path.stat().st_size - 8)
    elif change == "grows":
        with path.open("ab") as file:
            file.write(b"more")
    elif change == "is touched":
        os.utime(path, ns=(0, 12345))
    else:
        path.unlink()
    with pytest.raises(SourceChangedError, match=r"x\.npy: the source changed between passes"):
        read_all(source)


@pytest.mark.parametrize("to", [1000, 10**6])
def test_a_file_that_shrinks_or_grows_in_a_pass_is_named(to, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    source = as_source(path)
    with pytest.raises(SourceChangedError, match=r"x\.npy: the source changed"):
        list(source.map_rows(lambda chunk: os.truncate(path, to)))


def test_a_change_of_what_has_been_spooled_changes_nothing(tmp_path, parquet):
    path = write_parquet(tmp_path / "x.parquet", {"a": X[:, 0]})
    source = as_source(path)
    rows, _ = source.sample(10, np.random.default_rng(0))
    path.unlink()
    assert read_all(source) == len(X)
    assert_array_equal(rows, as_source(X[:, 0]).sample(10, np.random.default_rng(0))[0])


def test_a_chunked_array_that_grows_is_refused():
    h5py = pytest.importorskip("h5py")
    data = h5py.File.in_memory().create_dataset("x", data=X, chunks=(512, 2), maxshape=(None, 2))
    source = as_source(data, spool=False)
    read_all(source)
    data.resize(len(X) + 10, axis=0)
    with pytest.raises(SourceChangedError, match=r"the array: .* number of rows was 20485, now 20495"):
        read_all(source)


def test_a_listener_can_end_a_pass(tmp_path):
    np.save(tmp_path / "x.npy", X)

    def stop(rows):
        raise TimeoutError

    with listen(stop), pytest.raises(TimeoutError):
        GaussianMixture(2).fit(tmp_path / "x.npy")


# ---------------------------------------------------------------- one bad file among many


def test_infinity_is_named_by_file_and_row(tmp_path, parquet):
    for i in range(3):
        a = X[:3000, 0].copy()
        a[1234 if i == 2 else slice(0)] = np.inf
        write_parquet(tmp_path / f"{i}.parquet", {"a": X[:3000, 1], "b": a}, row_group_size=1000)
    words = r"contains infinity: .*2\.parquet, row 1234 \(row group 1\), column 'b' is inf"
    with pytest.raises(ValueError, match=words):
        GaussianMixture(2).fit(tmp_path)


@pytest.mark.slow
def test_an_infinity_after_ten_million_rows_is_named_by_file_and_row(tmp_path):
    for i in range(2):
        x = np.zeros((10**7, 1), np.float32)
        x[7_654_321 if i else slice(0)] = np.inf
        np.save(tmp_path / f"{i}.npy", x)
    with pytest.raises(ValueError, match=r"1\.npy, row 7654321, column 0 is inf"):
        GaussianMixture(2).fit(tmp_path / "*.npy")


@pytest.mark.parametrize("spooled", [None, False])
def test_infinity_in_text_is_named_by_file_and_row(spooled, tmp_path):
    pytest.importorskip("pyarrow")
    for i in range(3):
        lines = [f"{v!r}" for v in X[:3000, 0].tolist()]
        lines[2999] = "inf" if i == 1 else lines[2999]
        (tmp_path / f"{i}.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"1\.csv, row 2999, column 0 is inf"):
        GaussianMixture(2).fit(as_source(tmp_path, spool=spooled))


def test_a_null_is_nan_and_named(tmp_path, parquet):
    write_parquet(tmp_path / "x.parquet", {"a": [1.0, None, 2.0]})
    with pytest.raises(ValueError, match=r"contains NaN: .*x\.parquet, row 1 \(row group 0\), column 'a'"):
        MixtureModel(Poisson(), 1).fit(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("columns", "words", "error"),
    [
        ({"a": ["x"], "b": [1.0]}, "column 'a' holds string", ValueError),
        ({"a": [1.0]}, r"other columns than in .*0\.parquet: 'b'", ValueError),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, r"other columns than in .*0\.parquet: 'c'", ValueError),
        ({"a": np.array(["2020"], "datetime64[us]"), "b": [1.0]}, "column 'a' holds dates or times", TypeError),
    ],
)
def test_another_schema_in_one_file_is_named(columns, words, error, tmp_path, parquet):
    write_parquet(tmp_path / "0.parquet", {"a": [1.0, 2.0], "b": [1.0, 2.0]})
    write_parquet(tmp_path / "1.parquet", columns)
    with pytest.raises(error, match=rf"1\.parquet.*{words}"):
        as_source(tmp_path)


def test_a_column_that_is_gone_in_one_file_is_named(tmp_path, parquet):
    write_parquet(tmp_path / "0.parquet", {"a": [1.0], "d": [1.0]})
    write_parquet(tmp_path / "1.parquet", {"a": [1.0], "b": [1.0]})
    with pytest.raises(ValueError, match=r"1\.parquet: there is no column 'd'; there are 'a', 'b'"):
        as_source(tmp_path, columns=["d"])


def test_files_may_differ_in_what_is_not_read_and_in_width(tmp_path, parquet):
    write_parquet(tmp_path / "0.parquet", {"b": np.float32([1.5]), "a": ["text"]})
    write_parquet(tmp_path / "1.parquet", {"c": ["text"], "b": [0.1]})
    (chunk,) = as_source(tmp_path, columns=["b"]).chunks()
    assert chunk.x[:, 0].tolist() == [1.5, 0.1]


def test_text_that_is_no_number_is_named_by_file_and_column(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "0.csv").write_text("a,b\n1,2\n")
    (tmp_path / "1.csv").write_text("a,b\n1,2\n3,red\n")
    with pytest.raises(ValueError, match=r"1\.csv, column 'b' holds 'red', expected numbers"):
        as_source(tmp_path)


@pytest.mark.parametrize("kind", ["npy", "parquet", "csv", "names only"])
def test_an_empty_file_among_many_has_no_rows(kind, tmp_path):
    pytest.importorskip("pyarrow")
    for i, n in enumerate((0, 3, 0, 2)):
        if kind == "npy":
            np.save(tmp_path / f"{i}.npy", X[:n])
        elif kind == "parquet":
            write_parquet(tmp_path / f"{i}.parquet", {"a": X[:n, 0], "b": X[:n, 1]})
        else:
            names = "a,b\n" if n or kind == "names only" else ""
            (tmp_path / f"{i}.csv").write_text(names + "".join(f"{a!r},{b!r}\n" for a, b in X[:n].tolist()))
    (chunk,) = as_source(tmp_path).chunks()
    assert_array_equal(chunk.x, np.vstack([X[:3], X[:2]]))
    located = as_source(tmp_path).locate(3)
    assert Path(located.split(",")[0]).stem == "3"


def test_no_rows_at_all_are_refused(tmp_path, parquet):
    np.save(tmp_path / "x.npy", X[:0])
    (tmp_path / "x.csv").touch()
    write_parquet(tmp_path / "x.parquet", {"a": X[:0, 0]})
    for name in ("x.npy", "x.parquet"):
        with pytest.raises(ValueError, match="0 sample"):
            GaussianMixture(1).fit(tmp_path / name)
    with pytest.raises(ValueError, match=r"x\.csv: empty"):
        GaussianMixture(1).fit(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="the iterator is empty"):
        GaussianMixture(1).fit(lambda: iter([]))


def test_a_truncated_parquet_file_is_named(tmp_path, parquet):
    for i in range(2):
        write_parquet(tmp_path / f"{i}.parquet", {"a": X[:, 0]})
    os.truncate(tmp_path / "1.parquet", 5000)
    with pytest.raises(ValueError, match=r"1\.parquet: damaged, or not what its name says"):
        as_source(tmp_path)


def test_a_damaged_page_is_named_by_file_and_row_group(tmp_path, parquet):
    path = write_parquet(tmp_path / "x.parquet", {"a": X[:, 0]}, row_group_size=5000, compression="gzip")
    start = parquet.read_metadata(path).row_group(2).column(0).data_page_offset
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 400)
    source = as_source(path)
    with pytest.raises(ValueError, match=r"x\.parquet, row group 2: damaged"):
        read_all(source)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nonsense", "damaged, or not a .npy file"),
        (X.astype(complex), "complex128, expected real numbers"),
        (np.array([["a"]]), "<U1, expected real numbers"),
        (np.zeros((2, 2, 2)), "expected rows and columns"),
        (np.float64(3), "expected rows and columns"),
    ],
)
def test_a_npy_file_that_cannot_be_is_named(content, words, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(ValueError, match=rf"x\.npy: .*{words}"):
        as_source(path)


def test_a_truncated_npy_file_is_named(tmp_path):
    np.save(tmp_path / "x.npy", X)
    os.truncate(tmp_path / "x.npy", 1000)
    with pytest.raises(ValueError, match=r"x\.npy: truncated: 1000 bytes, expected"):
        as_source(tmp_path / "x.npy")


def test_paths_that_stand_for_nothing_are_named(tmp_path):
    (tmp_path / "x.npz").touch()
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "wide.npy", np.column_stack([X, X]))
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "none").mkdir()
    for data, error, words in [
        (tmp_path / "y.npy", FileNotFoundError, r"No such file .*y\.npy"),
        (f"{tmp_path}/z*.npy", FileNotFoundError, "no file matches"),
        (tmp_path / "none", FileNotFoundError, "no file in this directory"),
        (tmp_path / "x.npz", ValueError, r"ends in '\.npz', expected one of \.npy"),
        ([tmp_path / "x.npy", tmp_path / "x.csv"], ValueError, r"x\.csv: another kind of file"),
        ([tmp_path / "x.npy", tmp_path / "wide.npy"], ValueError, r"wide\.npy: 4 columns, but 2"),
    ]:
        with pytest.raises(error, match=words):
            as_source(data)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([X, X[:, :1]], "array 1 has 1 columns, the first one 2"),
        ([(X, np.ones(len(X))), X], "some of what comes is a pair"),
        ([(X, np.ones(3))], "20485 rows and 3 weights"),
        ([X.astype(str)], "expected numbers"),
        ([X, np.zeros((2, 2, 2))], "dim 3"),
    ],
)
def test_parts_that_do_not_fit_are_named(parts, words):
    with pytest.raises(ValueError, match=words):
        as_source(lambda: iter(parts))


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_bad_weight_is_named_by_file_and_row(value, tmp_path):
    for i in range(2):
        x = np.column_stack([X[:2000], np.ones(2000)])
        x[1500, 2] = value if i else 1.0
        np.save(tmp_path / f"{i}.npy", x)
    with pytest.raises(ValueError, match=rf"sample_weight of .*1\.npy, row 1500 is {value}"):
        as_source(tmp_path, weight=2)


def test_weights_of_zero_only_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.column_stack([X, np.zeros(len(X))]))
    with pytest.raises(ValueError, match="all sample_weight are zero"):
        as_source(tmp_path / "x.npy", weight=2)


def test_weights_of_another_length_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\)"):
        as_source(tmp_path / "x.npy", weight=np.ones(3))


# ---------------------------------------------------------------- read once, and spools


def test_what_can_be_read_only_once_is_refused_by_name():
    pa = pytest.importorskip("pyarrow")
    for data, name in [
        ((x for x in [X]), "generator"),
        (iter([X]), "list_iterator"),
        (pa.table({"a": X[:, 0]}).to_reader(), "RecordBatchReader"),
    ]:
        for read in (as_source, GaussianMixture(2).fit, lambda d: as_source(d, spool=False)):
            with pytest.raises(TypeError, match=rf"{name} can be read only once.*spool=True.*callable"):
                read(data)


class FullDisk:
    """A temporary file on a disk that is full after some bytes."""

    def __init__(self, room):
        self.room = room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)

    def close(self):
        pass


@pytest.fixture
def full_disk(monkeypatch):
    monkeypatch.setattr(spool, "_temporary", lambda directory: FullDisk(100_000))


def test_a_full_disk_costs_a_warning_and_no_bit(full_disk, tmp_path, parquet, caplog):
    path = write_parquet(tmp_path / "x.parquet", {"a": X[:, 0], "b": X[:, 1]})
    options = {"init_params": "kmeans", "random_state": 0, "max_iter": 2, "tol": 0}
    found, expected = (GaussianMixture(2, **options).fit(rows) for rows in (path, X))
    assert_array_equal(found.covariances_, expected.covariances_)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("mixtura.sources", "WARNING")
    assert "No space left on device" in record.getMessage()


def test_a_full_disk_is_an_error_for_what_can_be_read_only_once(full_disk):
    with pytest.raises(OSError, match="No space left") as caught:
        as_source((x for x in [X]), spool=True)
    assert "directory with more room" in caught.value.__notes__[0]


def test_without_a_directory_for_temporary_files_the_rows_are_decoded_in_every_pass(
    tmp_path, parquet, caplog, monkeypatch
):
    path = write_parquet(tmp_path / "x.parquet", {"a": X[:, 0]})
    monkeypatch.setattr(spool.tempfile, "tempdir", str(tmp_path / "missing"))
    source = as_source(path)
    source.sample(3, np.random.default_rng(0))
    assert read_all(source) == len(X)
    assert "no spool can be made" in caplog.text


def test_a_directory_that_was_asked_for_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        as_source(lambda: iter([X]), spool=tmp_path / "missing")


def test_without_room_for_a_spool_the_rows_are_decoded_in_every_pass(tmp_path, parquet, caplog, monkeypatch):
    path = write_parquet(tmp_path / "x.parquet", {"a": X[:, 0]})
    need = len(X) * 8
    for free, spooled in ((2 * need, True), (2 * need - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(10**9, 0, free))
        source = as_source(path)
        with caplog.at_level(logging.INFO, "mixtura.sources"):
            source.sample(3, np.random.default_rng(0))
        assert isinstance(source._rows, spool.Spool) is spooled
        assert ("decoded in every pass" in caplog.text) is not spooled
