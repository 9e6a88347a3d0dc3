"""What a cluster costs: overhead of a task, efficiency beside memory, and what they make of many workers.

    python -m benchmarks.clusters [--quick] [--spark]

A time is that of one pass over the rows (`mixtura.em.evaluate`), the least of some rounds: other users of a shared
machine only add to it. With `--spark`, Spark ML's
own GaussianMixture fits the same rows, from its start, and mixtura from its own.
"""

import argparse
import os
import pickle
import sys
import time
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.compare import processor
from benchmarks.data import capped, clusters, start
from mixtura import GaussianMixture, as_source
from mixtura.em import evaluate
from mixtura.kernels.threads import using_threads
from mixtura.sources.partitions import Folded
from mixtura.stats import Forest

D, K = 8, 16
ROWS = 4_000_000
PARTITIONS = 8
OVERHEAD_PARTITIONS = (16, 144)  # of hardly any rows: the difference is that of their tasks
SHAPES = ((4, 8), (8, 16), (32, 32), (100, 100))  # d, k whose statistics are weighed
NETWORK = 1e9  # bytes a second that the driver takes in: 10 Gbit/s, assumed and not measured
TREE_BYTES, FAN_IN = 1 << 26, 8  # as in `mixtura.sources.dask`
TASKS_PER_WORKER = 4  # so that no worker waits long for the last

SPARK_ROWS, SPARK_D, SPARK_K, SPARK_UPDATES = 400_000, 4, 5, 20


@dataclass(frozen=True)
class Constants:
    """What was measured: seconds a row on one core, a task, to add one's sums, of an empty pass; bytes of sums."""

    row: float
    task: float
    fold: float
    latency: float
    size: int


def seconds(function, rounds):
    """Return the least time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(rounds):
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return min(times)


def parameters(d, k):
    """Return a model and parameters of this shape."""
    x = clusters(max(50 * k, 2000), d, k)
    mixture = GaussianMixture(tol=0.0, max_iter=1, **start(x, k, "full")).fit(x)
    return mixture.model_, mixture.params_, x


def fold_cost(d, k, rounds):
    """Return the bytes of the statistics of one partition, and the seconds that adding one to the tree takes."""
    model, params, x = parameters(d, k)
    stats = evaluate(as_source(x), model, params)
    nodes = [pickle.dumps(Folded(1, [forest_of(index, stats)])) for index in range(64)]

    def fold():
        total = Forest()
        for node in nodes:
            total.merge(pickle.loads(node).forests[0])  # noqa: S301  # bytes of our own
        total.total()

    return len(nodes[0]), seconds(fold, rounds) / len(nodes)


def forest_of(index, stats):
    """Return a forest of one leaf."""
    forest = Forest()
    forest.insert(0, index, stats)
    return forest


def measure_workers(workers, rows, model, params, rounds):
    """Return seconds a pass by single-threaded workers, of a task, of one of Dask alone, and of an empty pass."""
    import dask.array as da
    from distributed import Client, LocalCluster

    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        source = as_source(da.from_array(rows, chunks=(-(-len(rows) // PARTITIONS), rows.shape[1])))
        full = seconds(partial(evaluate, source, model, params), rounds)
        few, many = (
            seconds(partial(evaluate, as_source(da.from_array(rows[: 8 * n], chunks=(8, -1))), model, params), rounds)
            for n in OVERHEAD_PARTITIONS
        )
        few_plain, many_plain = (seconds(partial(map_nothing, client, n), rounds) for n in OVERHEAD_PARTITIONS)
    difference = OVERHEAD_PARTITIONS[1] - OVERHEAD_PARTITIONS[0]
    task, plain = (many - few) / difference, (many_plain - few_plain) / difference
    return full, task, plain, max(few - OVERHEAD_PARTITIONS[0] * task, 0.0)


def map_nothing(client, n):
    """Let Dask run so many tasks that do nothing, and gather what they return."""
    client.gather(client.map(abs, range(n), pure=False))


def predict(n, workers, constants):
    """Return partitions, and the seconds a pass over n rows takes on so many workers: rows, tasks, sums, and all."""
    partitions = TASKS_PER_WORKER * workers
    arriving, tasks = partitions, partitions
    while arriving * constants.size > TREE_BYTES and arriving > FAN_IN:
        arriving = -(-arriving // FAN_IN)
        tasks += arriving
    rows = n * constants.row / workers
    scheduling = tasks * constants.task
    sums = arriving * (constants.fold + constants.size / NETWORK)
    return partitions, rows, scheduling, sums, constants.latency + max(rows, scheduling) + sums


def model_table(constants):
    """Return the rows of the table of the cost model."""
    lines = []
    for n in (1e9, 1e10, 1e11):
        for workers in (1, 10, 100, 1000):
            partitions, rows, scheduling, sums, total = predict(n, workers, constants)
            lines.append((f"{n:.0e}", workers, partitions, rows, scheduling, sums, total, rows / total))
    return lines


def report_dask(rounds):
    """Print the figures of Dask and the cost model."""
    model, params, _ = parameters(D, K)
    x = clusters(capped(ROWS), D, K)
    print(f"{len(x)} rows, d={D}, k={K}, full, {PARTITIONS} partitions\n")
    print("| workers | in memory, ms | Dask, ms | efficiency | ms a partition | ms of Dask alone | ms, no rows |")
    print("|---|---|---|---|---|---|---|")
    found = []
    for workers in (1, 2):
        with using_threads(workers):
            memory = seconds(partial(evaluate, as_source(x), model, params), rounds)
        full, task, plain, latency = measure_workers(workers, x, model, params, rounds)
        found.append((memory, task, latency))
        print(
            f"| {workers} | {memory * 1e3:.0f} | {full * 1e3:.0f} | {memory / full:.0%} | {task * 1e3:.2f} "
            f"| {plain * 1e3:.2f} | {latency * 1e3:.1f} |"
        )
    print("\n| d, k | bytes of statistics | us to add one |\n|---|---|---|")
    for d, k in SHAPES:
        size, fold = fold_cost(d, k, rounds)
        print(f"| {d}, {k} | {size} | {fold * 1e6:.0f} |")
    size, fold = fold_cost(D, K, rounds)
    constants = Constants(found[0][0] / len(x), found[1][1], fold, found[1][2], size)
    print(f"\n{constants}\n")
    print("| rows | workers | partitions | rows, s | tasks, s | sums, s | a pass, s | efficiency |")
    print("|---|---|---|---|---|---|---|---|")
    for line in model_table(constants):
        numbers = " | ".join(f"{value:.3g}" for value in line[3:7])
        print(f"| {line[0]} | {line[1]} | {line[2]} | {numbers} | {line[7]:.0%} |")


def report_spark(rounds):
    """Print log-likelihood and time of Spark ML's GaussianMixture and of mixtura on the same DataFrame."""
    import pandas as pd
    from pyspark.ml.clustering import GaussianMixture as SparkMixture
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    x = clusters(capped(SPARK_ROWS), SPARK_D, SPARK_K, separation=2.0)
    names = [f"x{j}" for j in range(SPARK_D)]
    options = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.log.level": "OFF"}
    builder = SparkSession.builder.master("local[2]").config(map=options | {"spark.driver.memory": "4g"})
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = builder.getOrCreate()
    frame = session.createDataFrame(pd.DataFrame(x, columns=names)).repartition(2).persist()
    vectors = VectorAssembler(inputCols=names, outputCol="features").transform(frame).select("features").persist()
    print(f"{frame.count()} rows, {vectors.count()} vectors, d={SPARK_D}, k={SPARK_K}, {SPARK_UPDATES} updates\n")
    print("| | seed | mean log-likelihood | s |\n|---|---|---|---|")
    for seed in range(rounds):
        before = time.perf_counter()
        theirs = SparkMixture(k=SPARK_K, maxIter=SPARK_UPDATES, tol=0.0, seed=seed).fit(vectors)
        took = time.perf_counter() - before
        print(f"| Spark ML | {seed} | {theirs.summary.logLikelihood / len(x):.6f} | {took:.1f} |")
        before = time.perf_counter()
        plain = GaussianMixture(SPARK_K, max_iter=SPARK_UPDATES, tol=0.0, acceleration=None, random_state=seed)
        ours = plain.fit(frame)
        took = time.perf_counter() - before
        print(f"| mixtura | {seed} | {ours.loglik_ / len(x):.6f} | {took:.1f} |")
    session.stop()


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.clusters")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--spark", action="store_true", help="beside Spark ML, instead of Dask")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # not converged: that is the point
    print(f"{processor()}; numpy {np.__version__}\n")
    if options.spark:
        report_spark(1 if options.quick else 3)
    else:
        report_dask(1 if options.quick else 7)
    return 0


if __name__ == "__main__":
    sys.exit(main())
