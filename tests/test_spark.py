"""Spark: the same fit as in memory, whatever is tried again. Needs PySpark and Java."""

import shutil
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture, KMeans, as_source
from mixtura.exceptions import ClusterError, SourceChangedError
from mixtura.grid import BLOCK_ROWS
from mixtura.progress import listen
from mixtura.sources import ArraySource

pyspark = pytest.importorskip("pyspark")
pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
if shutil.which("java") is None:
    pytest.skip("there is no Java on this machine, which Spark needs", allow_module_level=True)

from pyspark.sql import Row, SparkSession

from mixtura.sources import spark as sources_spark

N = 6 * BLOCK_ROWS + 77
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 3)) + 1.5 * RNG.integers(0, 3, N)[:, None]
WEIGHT = RNG.integers(0, 3, N).astype(np.float64)
NAMES = ["a", "b", "c"]

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings(
        "ignore::sklearn.exceptions.ConvergenceWarning",  # the number of iterations is fixed
        "ignore:::pyspark",  # of its own
        "ignore::ResourceWarning",
    ),
]


def make(**options):
    """Return a mixture that needs few passes: each takes Spark half a second."""
    return GaussianMixture(3, **{"random_state": 0, "tol": 0.0, "max_iter": 2, "init_params": "kmeans", **options})


@pytest.fixture(scope="module")
def spark():
    """Start a real Spark: two threads, three attempts a task."""
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.log.level": "OFF",
    }
    builder = SparkSession.builder.master("local[2,3]")
    for name, value in options.items():
        builder = builder.config(name, value)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYSPARK_PYTHON", sys.executable)  # else the first python3 of the path, which lacks mixtura
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.fixture(scope="module")
def frame(spark):
    """Give the rows and a weight, in the order of X, in 3 partitions."""
    rows = pd.DataFrame(X, columns=NAMES).assign(w=WEIGHT)
    frame = spark.createDataFrame(rows).coalesce(3).persist()
    assert_array_equal(frame.toPandas()[NAMES], X)
    return frame


@pytest.fixture(scope="module")
def undisturbed(frame):
    """Return a fit of which no task failed."""
    return make().fit(frame, sample_weight="w")


def test_a_frame_gives_the_fit_of_memory(frame):
    here, there = (make(init_params="auto").fit(rows, sample_weight=w) for rows, w in ((X, WEIGHT), (frame, "w")))
    assert_allclose(there.loglik_, here.loglik_, rtol=1e-10)
    assert_allclose(there.means_, here.means_, rtol=1e-10)
    assert_allclose(there.covariances_, here.covariances_, rtol=1e-10, atol=1e-12)


def test_a_frame_gives_the_same_bits_again(frame, undisturbed):
    again = make().fit(frame, sample_weight="w")
    assert_array_equal(again.means_, undisturbed.means_)
    assert again.loglik_ == undisturbed.loglik_


@pytest.mark.parametrize("init", ["k-means++", X[:4]])
def test_k_means_of_a_frame_is_that_of_memory(frame, init):
    here = KMeans(4, init=init, random_state=0).fit(X, sample_weight=WEIGHT)
    there, again = (KMeans(4, init=init, random_state=0).fit(frame, sample_weight="w") for _ in range(2))
    assert there.n_iter_ == here.n_iter_ > 2
    assert_allclose(there.cluster_centers_, here.cluster_centers_, rtol=1e-10)
    assert_allclose(there.inertia_, here.inertia_, rtol=1e-10)
    assert_array_equal(there.predict(frame.select(*NAMES)), here.labels_)
    assert_array_equal(again.cluster_centers_, there.cluster_centers_)
    assert again.inertia_ == there.inertia_


def test_prediction_keeps_the_order_of_rows(frame):
    rows = pd.DataFrame(X, columns=NAMES)
    mixture = make().fit(rows)
    features = frame.select(*NAMES)
    assert_array_equal(mixture.predict(features), mixture.predict(rows))
    assert_allclose(mixture.score_samples(features), mixture.score_samples(rows), rtol=1e-12)


def test_a_sample_is_that_of_memory(frame):
    here = ArraySource(X, WEIGHT).sample(100, np.random.default_rng(1))
    there = as_source(frame, weight="w").sample(100, np.random.default_rng(1))
    for a, b in zip(here, there, strict=True):
        assert_array_equal(a, b)


def test_rows_gone_through_are_reported(frame):
    heard = []
    source = as_source(frame)
    with listen(heard.append):
        list(source.map_rows(len))
    assert sum(heard) == N
    assert len(heard) == source._frame.rdd.getNumPartitions()


@pytest.mark.parametrize("kind", ["array", "vector"])
def test_one_column_may_hold_all_features(spark, kind):
    from pyspark.ml.linalg import Vectors

    wrap = Vectors.dense if kind == "vector" else list
    rows = [Row(features=wrap(row.tolist()), w=float(w)) for row, w in zip(X[:500], WEIGHT, strict=False)]
    source = as_source(spark.createDataFrame(rows).coalesce(2), weight="w")
    assert (source.n_rows, source.n_features) == (500, 3)
    x, weight = source.sample(10**6, np.random.default_rng(0))
    assert_array_equal(x, X[:500][WEIGHT[:500] > 0])
    assert_array_equal(weight, WEIGHT[:500][WEIGHT[:500] > 0])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_task_that_is_tried_again_counts_once(frame, undisturbed, monkeypatch, when):
    plain = sources_spark._map

    def fail_first(layout, task, batches):  # a closure: executors cannot import the tests
        from pyspark import TaskContext

        task_context = TaskContext.get()
        first = task_context.partitionId() == 1 and task_context.attemptNumber() == 0  # each failure ends a process
        if first and when == "before":
            raise OSError(f"failed on purpose after {next(batches).num_rows} rows")
        yield from plain(layout, task, batches)
        if first:
            raise OSError("failed on purpose after all sums were sent")

    monkeypatch.setattr(sources_spark, "_map", fail_first)
    mixture = make().fit(frame, sample_weight="w")
    assert mixture.loglik_ == undisturbed.loglik_
    assert_array_equal(mixture.means_, undisturbed.means_)


def test_what_comes_twice_counts_once_or_is_refused():
    row = {"partition": 1, "n_rows": 7, "payload": b"sums"}
    assert sources_spark._once([row, row]) == {1: b"sums"}
    with pytest.raises(SourceChangedError, match=r"partition 1 came twice in one pass, with 7 rows and with 8"):
        sources_spark._once([row, row | {"n_rows": 8}])


def test_a_task_that_always_fails_ends_with_one_clear_error(frame, monkeypatch):
    def fail(layout, task, batches):
        raise OSError("no disk")

    monkeypatch.setattr(sources_spark, "_map", fail)
    with pytest.raises(ClusterError, match=r"(?s)Spark gave up a pass.*no disk"):
        make().fit(frame, sample_weight="w")


def test_a_bad_value_is_named_by_partition_and_row(spark):
    x = X[:900].copy()
    x[500, 1] = np.inf
    frame = spark.createDataFrame(pd.DataFrame(x, columns=NAMES)).coalesce(1)
    with pytest.raises(ValueError, match=r"partition 0, row 500, column 'b' is inf"):
        make().fit(frame)
    x[500, 1] = -1.0
    frame = spark.createDataFrame(pd.DataFrame(np.abs(x), columns=NAMES).assign(b=x[:, 1])).coalesce(1)
    with pytest.raises(ValueError, match=r"sample_weight of partition 0, row \d+ is -"):
        make().fit(frame, sample_weight="b")


def test_columns_that_cannot_be_are_refused(spark, frame):
    with pytest.raises(ValueError, match=r"no column 'z'"):
        as_source(frame, columns=["z"])
    with pytest.raises(ValueError, match=r"column 'text' holds string"):
        as_source(spark.createDataFrame([Row(a=1.0, text="x")]))
    with pytest.raises(ValueError, match=r"name of a column"):
        make().fit(frame, sample_weight=WEIGHT)
    with pytest.raises(TypeError, match=r"has no columns"):
        as_source(spark.sparkContext.parallelize([1.0]))
    with pytest.raises(ValueError, match=r"0 sample"):
        make().fit(frame.filter("a > 1e9"))


def test_rows_that_change_between_passes_are_refused(spark):
    from pyspark.sql import functions

    # Persisted by its owner, whose cache then goes: the rows are made again, and are others.
    frame = spark.range(4000, numPartitions=2).select(functions.rand().alias("a"), functions.randn().alias("b"))
    noise = functions.udf(lambda: float(time.time_ns() % 10_007), "double").asNondeterministic()
    changing = frame.withColumn("c", noise()).persist()
    source = as_source(changing)
    assert source.n_rows == 4000
    source.close()
    source._frame.unpersist()
    changing.unpersist()
    with pytest.raises(SourceChangedError, match=r"partition 0 has other rows than in the first pass"):
        list(source.map_rows(len))


def test_the_frame_is_persisted_while_it_is_fitted(spark):
    frame = spark.createDataFrame(pd.DataFrame(X, columns=NAMES)).coalesce(2)
    source = as_source(frame)
    held = source._frame
    assert held.storageLevel.useMemory
    del source
    assert not held.storageLevel.useMemory
