"""Sources read piece by piece: the same bits as from one array in memory, whatever holds the rows."""

import csv
import functools
import gzip
import os
import subprocess
import sys
import threading

import narwhals as nw
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixtura import GaussianMixture, as_source
from mixtura.grid import BLOCK_ROWS
from mixtura.sources import StreamSource, stream
from mixtura.sources.ahead import read_ahead

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NAMES = ("a", "b", "c")
SIZES = (BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 1, 5 * BLOCK_ROWS + 77)


def make_rows(n, dtype="float64", seed=0):
    """Return rows in two clusters, and weights of which some are 0."""
    rng = np.random.default_rng([n, seed])
    x = (100 * rng.standard_normal((n, 3)) + 300 * (np.arange(n) % 2)[:, None]).astype(dtype)
    return x, rng.integers(0, 3, n) * rng.random(n)


@pytest.fixture(params=[1, 3 * BLOCK_ROWS * 3 * 8], ids=["one-block", "three-blocks"])
def small_chunks(request, monkeypatch):
    """Chunks of one block, and of some; and small parts of everything else."""
    from mixtura.sources import parquet, raw, slabs

    monkeypatch.setattr(stream, "CHUNK_BYTES", request.param)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 128)
    monkeypatch.setattr(raw, "SCRATCH_BYTES", 5000)  # some 150 rows
    monkeypatch.setattr(slabs, "SLAB_BYTES", 1)


# ---------------------------------------------------------------- writers: (directory, x, weight) to (data, options)


def halves(x, weight):
    """Cut rows, off the grid, in two."""
    cut = len(x) // 3
    return [(x[:cut], weight[:cut]), (x[cut:], weight[cut:])]


def table(x, weight):
    pa = pytest.importorskip("pyarrow")
    return pa.table({name: x[:, j] for j, name in enumerate(NAMES)} | {"w": weight})


def npy(directory, x, weight):
    for i, (rows, w) in enumerate(halves(x, weight)):
        np.save(directory / f"{i}.npy", np.column_stack([rows, w]))
    return directory, {"weight": 3}


def npy_fortran(directory, x, weight):
    np.save(directory / "f.npy", np.asfortranarray(np.column_stack([weight, x])))
    return directory / "f.npy", {"weight": 0}


def npy_big_endian(directory, x, weight):
    np.save(directory / "b.npy", x.astype(x.dtype.newbyteorder(">")))
    return str(directory / "b.npy"), {"weight": weight}


def npy_plain(directory, x, weight):
    np.save(directory / "p.npy", x)
    return directory / "p.npy", {"weight": weight}


def parquet_files(directory, x, weight):
    parquet = pytest.importorskip("pyarrow.parquet")
    for i, part in enumerate(halves(x, weight)):
        parquet.write_table(table(*part), directory / f"part-{i}.parquet", row_group_size=300)
    return str(directory / "part-*.parquet"), {"weight": "w"}


def feather_files(directory, x, weight):
    feather = pytest.importorskip("pyarrow.feather")
    for i, part in enumerate(halves(x, weight)):
        feather.write_feather(table(*part), directory / f"{i}.feather", chunksize=700)
    return [directory / "0.feather", directory / "1.feather"], {"weight": "w"}


def ipc_stream(directory, x, weight):
    pa = pytest.importorskip("pyarrow")
    whole = table(x, weight)
    with pa.OSFile(str(directory / "s.arrow"), "w") as file, pa.ipc.new_stream(file, whole.schema) as writer:
        writer.write_table(whole, 999)
    return directory / "s.arrow", {"weight": "w"}


def csv_files(directory, x, weight):
    pytest.importorskip("pyarrow")
    for i, (rows, w) in enumerate(halves(x, weight)):
        with (directory / f"{i}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*NAMES, "w"])
            writer.writerows([*map(repr, row), repr(v)] for row, v in zip(rows.tolist(), w.tolist(), strict=True))
    return directory, {"weight": "w"}


def dataset(directory, x, weight):
    arrow_dataset = pytest.importorskip("pyarrow.dataset")
    parquet_files(directory, x, weight)
    return arrow_dataset.dataset(directory), {"weight": "w"}


class GivesStreams:
    """What has an Arrow stream, again and again, and is no table that narwhals knows."""

    def __init__(self, rows):
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema=None):
        return self._rows.__arrow_c_stream__(requested_schema)


def c_stream(directory, x, weight):
    return GivesStreams(table(x, weight)), {"weight": "w"}


def zarr_array(directory, x, weight):
    zarr = pytest.importorskip("zarr")
    return zarr.array(np.column_stack([x, weight]), chunks=(700, 2)), {"weight": 3}


def hdf5_array(directory, x, weight):
    h5py = pytest.importorskip("h5py")
    file = h5py.File.in_memory()
    return file.create_dataset("x", data=np.column_stack([x, weight]), chunks=(700, 4), compression="gzip"), {
        "weight": 3
    }


def sequence(directory, x, weight):
    return [part for part, _ in halves(x, weight)], {"weight": [w for _, w in halves(x, weight)]}


def call_for_arrays(directory, x, weight):
    return lambda: iter(np.split(np.column_stack([x, weight]), range(0, len(x), 777))), {"weight": 3}


def call_for_pairs(directory, x, weight):
    return lambda: iter(halves(x, weight)), {}


def call_for_batches(directory, x, weight):
    whole = table(x, weight)
    return lambda: iter(whole.to_batches(max_chunksize=500)), {"weight": "w"}


def generator(directory, x, weight):
    return (part for part in halves(x, weight)), {"spool": True}


def batch_reader(directory, x, weight):
    return table(x, weight).to_reader(max_chunksize=500), {"weight": "w", "spool": directory}


WRITERS = (
    npy,
    npy_fortran,
    npy_big_endian,
    npy_plain,
    parquet_files,
    feather_files,
    ipc_stream,
    csv_files,
    dataset,
    c_stream,
    zarr_array,
    hdf5_array,
    sequence,
    call_for_arrays,
    call_for_pairs,
    call_for_batches,
    generator,
    batch_reader,
)
AGAIN = [writer for writer in WRITERS if writer not in (generator, batch_reader)]
KIND = pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)


def two_updates(data, **options):
    """Return a fit of two updates: rows that are not as they should be show in the first."""
    return GaussianMixture(2, init_params="kmeans", random_state=0, max_iter=2, tol=0).fit(data, **options)


@functools.cache
def of_memory(n):
    """Return the fit of these rows in memory, its score, and samples of the rows by their size."""
    x, weight = make_rows(n)
    fitted, source = two_updates(x, sample_weight=weight), as_source(x, weight=weight)
    samples = {size: source.sample(size, np.random.default_rng(size)) for size in (1, 50, 10 * n)}
    return fitted, fitted.score(x, sample_weight=weight), samples


def assert_same_fit(source, n):
    """Check that fit, sample and totals have the bits of these rows in memory."""
    expected, score, samples = of_memory(n)
    found = two_updates(source)
    for name in ("weights_", "means_", "covariances_"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.loglik_ == expected.loglik_
    assert found.score(source) == score
    for size, sample in samples.items():
        for mine, theirs in zip(source.sample(size, np.random.default_rng(size)), sample, strict=True):
            assert_array_equal(mine, theirs)
            assert mine.dtype == np.float64


@KIND
@pytest.mark.parametrize("n", SIZES)
def test_a_fit_has_the_bits_of_one_in_memory(writer, n, tmp_path, small_chunks):
    x, weight = make_rows(n)
    data, options = writer(tmp_path, x, weight)
    source = as_source(data, **options)
    assert isinstance(source, StreamSource)
    assert (source.n_rows, source.n_features) == (n, 3)
    assert_same_fit(source, n)


@pytest.mark.parametrize("writer", AGAIN, ids=lambda writer: writer.__name__)
@pytest.mark.parametrize("spool", [True, False])
def test_a_spool_changes_no_bit(writer, spool, tmp_path, small_chunks):
    x, weight = make_rows(3 * BLOCK_ROWS + 5)
    data, options = writer(tmp_path, x, weight)
    assert_same_fit(as_source(data, spool=spool, **options), len(x))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("writer", [npy, npy_fortran, npy_plain, parquet_files, hdf5_array, sequence, call_for_batches])
@pytest.mark.parametrize("spool", [True, False])
def test_every_real_dtype_keeps_its_values(writer, dtype, spool, tmp_path):
    if (writer, dtype) == (call_for_batches, "float16"):
        pa = pytest.importorskip("pyarrow")
        half = pa.table({"a": pa.array([], pa.float16())})
        if nw.from_native(half)["a"].dtype == nw.Unknown:
            pytest.skip("this narwhals does not know Arrow's half floats")
    x, weight = make_rows(BLOCK_ROWS + 9)
    x = x > 100 if dtype == "bool" else np.clip(x, 0, 250).astype(dtype)
    data, options = writer(tmp_path, x, weight)
    found = np.concatenate([c.x.copy() for c in as_source(data, spool=spool, **options).chunks()])
    assert_array_equal(found, x.astype(np.float64))


@pytest.mark.parametrize("path", ["compiled"], indirect=True)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_kernels_change_no_bit(path, threads, tmp_path, small_chunks):
    x, weight = make_rows(40 * BLOCK_ROWS + 5, "float32")
    data, options = npy(tmp_path, x, weight)
    expected = GaussianMixture(2, init_params="kmeans", random_state=0, max_iter=2, tol=0, n_threads=2).fit(
        x, sample_weight=weight
    )
    found = GaussianMixture(2, init_params="kmeans", random_state=0, max_iter=2, tol=0, n_threads=threads).fit(
        as_source(data, **options)
    )
    assert_array_equal(found.covariances_, expected.covariances_)
    assert found.loglik_ == expected.loglik_


def test_rows_narrower_than_float32_are_held_in_float32(tmp_path):
    for dtype, held in {"float16": "float32", "int16": "float32", "int32": "float64", "float32": "float32"}.items():
        np.save(tmp_path / "x.npy", make_rows(10)[0].astype(dtype))
        assert next(as_source(tmp_path / "x.npy").chunks()).x.dtype == held


def test_estimators_take_paths_and_predict_row_by_row(tmp_path, small_chunks):
    x, weight = make_rows(3000)
    data, _ = parquet_files(tmp_path, x, weight)
    expected = GaussianMixture(2, random_state=0).fit(x, sample_weight=weight)
    found = GaussianMixture(2, random_state=0).fit(data, sample_weight="w")
    assert_array_equal(found.means_, expected.means_)
    assert list(found.feature_names_in_) == list(NAMES)
    rows = as_source(data, columns=NAMES)
    assert_array_equal(found.predict(rows), expected.predict(x))
    assert_array_equal(found.predict_proba(rows), expected.predict_proba(x))
    assert found.score(data, sample_weight="w") == expected.score(x, sample_weight=weight)
    assert_array_equal(found.predict(table(x, weight).drop_columns("w")), expected.predict(x))
    with pytest.raises(ValueError, match="same order"):
        found.predict(as_source(data, columns=["b", "a", "c"]))


def test_columns_of_a_table_and_its_weight_go_by_name_in_fit():
    pd = pytest.importorskip("pandas")
    x, weight = make_rows(300)
    frame = pd.DataFrame(x, columns=NAMES).assign(w=weight)
    found = GaussianMixture(2, random_state=0).fit(frame, sample_weight="w")
    assert_array_equal(found.means_, GaussianMixture(2, random_state=0).fit(x, sample_weight=weight).means_)
    assert_array_equal(found.predict(frame[list(NAMES)]), found.predict(frame[list(NAMES)]))


# ---------------------------------------------------------------- what a path stands for


def test_a_pattern_is_sorted_and_a_directory_leaves_out_what_is_hidden(tmp_path):
    for name, value in {"b/2.npy": 3, "a/1.npy": 1, "a/2.npy": 2, "_temporary/0.npy": 9, ".x/0.npy": 9}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.full((2, 1), value))
    (tmp_path / "a" / "_SUCCESS").touch()
    for data in (tmp_path, f"{tmp_path}/[ab]/*.npy", [tmp_path / "a", tmp_path / "b" / "2.npy"]):
        (chunk,) = as_source(data).chunks()
        assert chunk.x[:, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_row_is_located_in_its_file(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    x, weight = make_rows(1000)
    for i in range(3):
        parquet.write_table(table(x, weight), tmp_path / f"part-{i}.parquet", row_group_size=400)
        np.save(tmp_path / f"{i}.npy", x)
    located = as_source(str(tmp_path / "part-*.parquet")).locate(2850)
    assert located == f"{tmp_path / 'part-2.parquet'}, row 850 (row group 2)"
    assert as_source(tmp_path / "part-0.parquet").locate(400).endswith("row 400 (row group 1)")
    assert as_source(str(tmp_path / "*.npy")).locate(1000) == f"{tmp_path / '1.npy'}, row 0"


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("a,b\n1,2\n3,4.5\n", ("a", "b"), [[1, 2], [3, 4.5]]),
        ("a;b\r\n1;2\r\n", ("a", "b"), [[1, 2]]),
        ("1\t2\n3\t4\n", None, [[1, 2], [3, 4]]),
        ("\ufeffa,b\n1,2\n", ("a", "b"), [[1, 2]]),
        ('"a,1",b\n1,2\n', ("a,1", "b"), [[1, 2]]),
        ("a\n1\n2", ("a",), [[1], [2]]),
        ("a,b\n1,\n", ("a", "b"), [[1, np.nan]]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_may_have_any_separator_and_names_or_not(text, names, rows, packed, tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / ("x.csv.gz" if packed else "x.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    source = as_source(path)
    assert source.names == names
    (chunk,) = source.chunks()
    assert_array_equal(chunk.x, rows)


def test_text_chooses_columns_by_name_or_number(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "x.csv").write_text("a,b,text\n1,2,x\n3,4,y\n")
    (chunk,) = as_source(tmp_path / "x.csv", columns=["b"], weight="a").chunks()
    assert (chunk.x.tolist(), chunk.weight.tolist()) == ([[2.0], [4.0]], [1.0, 3.0])
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    (chunk,) = as_source(tmp_path / "x.csv", columns=[1]).chunks()
    assert chunk.x.tolist() == [[2.0], [4.0]]


def test_arrow_nulls_dictionaries_and_decimals_are_numbers(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from decimal import Decimal

    columns = {
        "i": pa.array([1, None, 3]),
        "b": pa.array([True, None, False]),
        "f": pa.array([1.5, None, np.nan], pa.float32()),
        "d": pa.array([Decimal("1.5"), None, Decimal(2)]),
        "k": pa.array([7, 7, None]).dictionary_encode(),
        "n": pa.nulls(3),
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    (chunk,) = as_source(tmp_path / "x.parquet").chunks()
    nan = np.nan
    assert_array_equal(chunk.x, [[1, 1, 1.5, 1.5, 7, nan], [nan] * 4 + [7, nan], [3, 0, nan, 2, nan, nan]])


def test_a_filtered_dataset_has_the_rows_that_it_keeps(tmp_path):
    arrow_dataset = pytest.importorskip("pyarrow.dataset")
    x, weight = make_rows(1000)
    parquet_files(tmp_path, x, weight)
    kept = arrow_dataset.dataset(tmp_path).filter(arrow_dataset.field("a") > 0)
    source = as_source(kept, columns=NAMES)
    assert source.n_rows == (x[:, 0] > 0).sum()
    (chunk,) = source.chunks()
    assert_array_equal(chunk.x, x[x[:, 0] > 0])


def test_lists_of_numbers_rows_or_vectors_are_one_array():
    for data in ([1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]], [np.array([1.0, 2.0]), np.array([3.0, 4.0])]):
        assert_array_equal(as_source(data).x, np.asarray(data).reshape(2, -1))


class Recorder:
    """A chunked array that notes which rows are asked for."""

    def __init__(self, x, chunks):
        self.x, self.chunks, self.shape, self.dtype = x, chunks, x.shape, x.dtype
        self.asked = []

    def __getitem__(self, rows):
        self.asked.append((rows.start, rows.stop))
        return self.x[rows]


def test_a_chunked_array_is_read_in_slabs_of_whole_chunks_and_only_where_rows_are_wanted(monkeypatch):
    from mixtura.sources import slabs

    monkeypatch.setattr(slabs, "SLAB_BYTES", 500 * 3 * 8)
    x, _ = make_rows(1000)
    array = Recorder(x, (200, 3))
    source = as_source(array, spool=False)
    assert sum(source.map_rows(len)) == 1000
    assert array.asked == [(0, 400), (400, 800), (800, 1000)]
    array.asked.clear()
    source.sample(1, np.random.default_rng(0))
    assert len(array.asked) == 1


# ---------------------------------------------------------------- fingerprints, spools, reading ahead


@pytest.mark.parametrize("writer", AGAIN, ids=lambda writer: writer.__name__)
def test_the_fingerprint_is_that_of_the_rows(writer, tmp_path):
    x, weight = make_rows(2 * BLOCK_ROWS + 5)
    data, options = writer(tmp_path, x, weight)
    before = as_source(data, spool=False, **options)
    after = as_source(data, spool=True, **options)
    after.sample(1, np.random.default_rng(0))
    assert before.fingerprint == after.fingerprint == as_source(data, **options).fingerprint
    for row, column in ((0, 0), (len(x) - 1, 2)):
        other = x.copy()
        other[row, column] += 1
        (tmp_path / f"{row}").mkdir()
        data, options = writer(tmp_path / f"{row}", other, weight)
        assert as_source(data, **options).fingerprint != before.fingerprint


def test_the_fingerprint_is_the_same_in_another_process(tmp_path):
    data, options = npy(tmp_path, *make_rows(3000))
    script = f"from mixtura import as_source; print(as_source({str(data)!r}, weight=3).fingerprint)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == as_source(data, **options).fingerprint


@pytest.mark.skipif(os.name != "posix", reason="only here can an open file be deleted")
def test_a_spool_leaves_nothing_behind_while_it_is_used(tmp_path):
    x, _ = make_rows(3000)
    (tmp_path / "spool").mkdir()
    source = as_source(lambda: iter([x]), spool=tmp_path / "spool")
    assert_array_equal(next(source.chunks()).x, x)
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_is_costly_is_decoded_once(tmp_path, monkeypatch):
    from mixtura.sources.parquet import ParquetFile

    decoded = []
    decode = ParquetFile._decode
    monkeypatch.setattr(ParquetFile, "_decode", lambda self, *args: decoded.append(args) or decode(self, *args))
    x, weight = make_rows(3000)
    data, _ = parquet_files(tmp_path, x, weight)
    source = as_source(data, columns=NAMES)
    groups = 4 + 7
    model = GaussianMixture(2, random_state=0, max_iter=3, tol=0).fit(source)
    assert len(decoded) == groups
    model.predict(as_source(data, columns=NAMES))  # one pass: no spool, and no second look
    assert len(decoded) == 2 * groups


def test_reading_ahead_is_bounded_and_ends_with_the_pass():
    begun = []

    def items():
        try:
            for i in range(100):
                begun.append(i)
                yield i
        finally:
            begun.append("closed")

    ahead = read_ahead(items(), 2)
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert begun[-1] == "closed"
    assert len(begun) <= 2 + 2 + 1 + 1
    assert not [t for t in threading.enumerate() if t.name == "mixtura_read_ahead"]


def test_an_error_in_a_step_ends_the_reading(tmp_path, small_chunks):
    x, weight = make_rows(20 * BLOCK_ROWS)
    data, options = npy(tmp_path, x, weight)
    source = as_source(data, **options)

    def interrupted(chunk):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.fold([interrupted])
    assert not [t for t in threading.enumerate() if t.name == "mixtura_read_ahead"]
    assert_same_fit(source, len(x))
