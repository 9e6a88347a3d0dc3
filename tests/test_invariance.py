"""What must not change a result: threads, libraries' settings, containers, dtypes, copies, saving."""

import hashlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from compare import assert_close, assert_same_bits, parameters
from mixtura import GaussianMixture, MixtureModel
from mixtura.families import Poisson

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---------------------------------------------------------------- threads and environment


@pytest.mark.parametrize(("n", "d"), [(700, 3), (30_011, 3), (30_011, 1)])
def test_threads_change_no_bit(structure, path, n, d, make_case):
    case = make_case(structure, n=n, d=d)
    options = {**case.start, "max_iter": 5, "tol": 0.0}
    one, two = (GaussianMixture(**options, n_threads=threads).fit(case.x) for threads in (1, 2))
    assert_same_bits(one, two)
    for method in ("score_samples", "predict_proba", "predict", "score"):
        assert_array_equal(getattr(two, method)(case.x), getattr(one, method)(case.x), err_msg=method)


def test_threads_change_no_bit_of_a_poisson_fit():
    x = np.random.default_rng(0).poisson([2.0, 7.0], size=(30_011, 2))
    one, two = (MixtureModel(Poisson(), 3, random_state=0, max_iter=5, n_threads=n).fit(x) for n in (1, 2))
    assert_same_bits(one, two)


SCRIPT = """
    import hashlib, warnings
    import numpy as np
    from mixtura import GaussianMixture
    from mixtura.models import mixture
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    for n, d in ((900, 3), (10_011, 3), (10_011, 1)):
        x = rng.standard_normal((n, d)) + 6.0 * rng.integers(0, 3, size=(n, 1))
        for structure in ("full", "tied", "diag", "spherical"):
            for init_params, work in (("kmeans", 0), ("k-means++", 1 << 62)):  # compiled, composed
                mixture.COMPILED_WORK = work
                model = GaussianMixture(3, covariance_type=structure, init_params=init_params, max_iter=4,
                                        tol=0.0, random_state=0).fit(x)
                arrays = (model.weights_, model.means_, model.covariances_, model.precisions_,
                          model.score_samples(x), model.predict_proba(x), np.array(model.loglik_))
                digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
                print(n, d, structure, init_params, digest.hexdigest()[:16])
"""

ENVIRONMENTS = {
    "one thread": {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
    "two threads of another layer": {
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
        "NUMBA_NUM_THREADS": "2",
        "NUMBA_THREADING_LAYER": "workqueue",
    },
}


def test_the_environment_changes_no_bit():
    outputs = {}
    for name, variables in ENVIRONMENTS.items():
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
        done = subprocess.run(
            command, check=False, env=os.environ | variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        outputs[name] = done.stdout.splitlines()
    assert len(outputs["one thread"]) == 24
    for name, lines in outputs.items():
        assert lines == outputs["one thread"], name


def test_a_fit_repeats_bit_for_bit(structure, make_case):
    case = make_case(structure, n=5_000)
    options = {"covariance_type": structure, "n_init": 2, "random_state": 3, "max_iter": 5}
    assert_same_bits(GaussianMixture(3, **options).fit(case.x), GaussianMixture(3, **options).fit(case.x))


# ---------------------------------------------------------------- rows: weights, copies, order


@pytest.mark.parametrize("n", [300, 5_000])
def test_a_weight_is_that_many_copies(structure, path, n, make_case):
    case = make_case(structure, n=n)
    copies = np.random.default_rng(1).integers(0, 4, size=n)  # zeros too
    options = {**case.start, "max_iter": 6, "tol": 0.0}
    weighted = GaussianMixture(**options).fit(case.x, sample_weight=copies)
    repeated = np.repeat(case.x, copies, axis=0)
    copied = GaussianMixture(**options).fit(repeated)
    assert_close(weighted, copied)
    score = copied.score(repeated)
    assert weighted.score(case.x, sample_weight=copies) == pytest.approx(score, rel=1e-10)
    for name in ("aic", "bic"):
        expected = getattr(copied, name)(repeated)
        assert getattr(weighted, name)(case.x, sample_weight=copies) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [300, 5_000])
def test_a_row_of_weight_zero_is_not_there(structure, path, n, make_case):
    case = make_case(structure, n=n)
    kept = np.random.default_rng(2).random(n) < 0.7
    # What is not there may lie anywhere, outside the range of the rest too.
    x = np.where(kept[:, None], case.x, case.x + 1e3)
    options = {**case.start, "max_iter": 6, "tol": 0.0}
    weighted = GaussianMixture(**options).fit(x, sample_weight=kept.astype(float))
    assert_close(weighted, GaussianMixture(**options).fit(x[kept]))


@pytest.mark.parametrize("factor", [0.25, 3.0, 1e-250, 1e250])
def test_scaling_all_weights_changes_the_total_alone(structure, path, factor, make_case):
    case = make_case(structure)
    w = np.random.default_rng(3).uniform(0.5, 2.0, size=len(case.x))
    options = {**case.start, "reg_covar": 1e-6, "max_iter": 6, "tol": 0.0}  # a prior counts rows
    one, other = (GaussianMixture(**options).fit(case.x, sample_weight=v) for v in (w, factor * w))
    for name, value in parameters(one).items():
        assert_allclose(getattr(other, name), value, rtol=1e-9, atol=1e-10 * np.abs(value).max())
    assert other.loglik_ == pytest.approx(factor * one.loglik_, rel=1e-10)
    assert other.lower_bound_ == pytest.approx(one.lower_bound_, rel=1e-10)


def test_weights_of_one_are_no_weights(structure, path, make_case):
    case = make_case(structure, n=5_000)
    options = {**case.start, "max_iter": 6, "tol": 0.0}
    weighted = GaussianMixture(**options).fit(case.x, sample_weight=np.ones(len(case.x)))
    assert_close(GaussianMixture(**options).fit(case.x), weighted, rtol=1e-12)


def test_poisson_weights_are_copies():
    rng = np.random.default_rng(4)
    x = rng.poisson([[2.0, 9.0]] * 300 + [[7.0, 1.0]] * 300)
    copies = rng.integers(0, 4, size=600)
    options = {"random_state": 0, "max_iter": 500, "tol": 1e-12}
    weighted = MixtureModel(Poisson(), 2, **options).fit(x, sample_weight=copies)
    copied = MixtureModel(Poisson(), 2, **options).fit(np.repeat(x, copies, axis=0))
    order = np.argsort(weighted.rates_[:, 0]), np.argsort(copied.rates_[:, 0])
    assert_allclose(weighted.rates_[order[0]], copied.rates_[order[1]], rtol=1e-5)
    assert weighted.loglik_ == pytest.approx(copied.loglik_, rel=1e-9)


@pytest.mark.parametrize("n", [300, 5_000])
def test_the_order_of_rows_does_not_matter(structure, path, n, make_case):
    case = make_case(structure, n=n)
    options = {**case.start, "max_iter": 6, "tol": 0.0}
    order = np.random.default_rng(5).permutation(n)
    one = GaussianMixture(**options).fit(case.x)
    other = GaussianMixture(**options).fit(case.x[order])
    assert_close(one, other)
    assert_allclose(other.score_samples(case.x[order]), one.score_samples(case.x)[order], rtol=1e-9)


# ---------------------------------------------------------------- containers, dtypes, memory layouts

# Two clumps of whole numbers: exact in every dtype that is tried.
EXACT = (
    np.round(8 * np.random.default_rng(6).standard_normal((500, 3))) + np.where(np.arange(500) < 250, 0, 64)[:, None]
)


def read_only(x):
    """Return a copy that may not be written to."""
    x = x.copy()
    x.flags.writeable = False
    return x


def strided(x):
    """Return the rows as every second row and second column, backwards, of a larger array."""
    wide = np.full((2 * len(x), 2 * x.shape[1]), np.nan)
    view = wide[::-2, ::-2]
    view[...] = x
    return view


LAYOUTS = {
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "strided": strided,
    "backwards": lambda x: x[::-1].copy()[::-1],
    "list": lambda x: x.tolist(),
    "list of arrays": list,
    "tuple": lambda x: tuple(map(tuple, x)),
    "float32": lambda x: x.astype(np.float32),
    "float32 fortran": lambda x: np.asfortranarray(x, dtype=np.float32),
    "int64": lambda x: x.astype(np.int64),
    "int32 strided": lambda x: np.repeat(x.astype(np.int32), 2, axis=0)[::2],
    "int16": lambda x: x.astype(np.int16),
    "big-endian": lambda x: x.astype(">f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "object": lambda x: x.astype(object),
    "matrix of another class": lambda x: x.view(type("Rows", (np.ndarray,), {})),
}


@pytest.fixture(scope="module")
def plain():
    """Fits of the plain float64 array, one for each structure."""
    return {
        name: GaussianMixture(2, covariance_type=name, random_state=0, max_iter=5).fit(EXACT)
        for name in ("full", "tied", "diag", "spherical")
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_numbers_give_equal_bits(structure, layout, plain):
    x = LAYOUTS[layout](EXACT)
    model = GaussianMixture(2, covariance_type=structure, random_state=0, max_iter=5).fit(x)
    assert_same_bits(plain[structure], model)
    for method in ("score_samples", "predict_proba", "predict"):
        expected = getattr(plain[structure], method)(EXACT)
        assert_array_equal(getattr(model, method)(x), expected, err_msg=method)
    assert not hasattr(model, "feature_names_in_")


def test_layouts_of_many_blocks(structure, path):
    x = np.tile(EXACT, (6, 1))
    options = {"covariance_type": structure, "random_state": 0, "max_iter": 3, "init_params": "k-means++"}
    expected = GaussianMixture(2, **options).fit(x)
    for layout in ("fortran", "read-only", "strided", "float32", "int16"):
        assert_same_bits(expected, GaussianMixture(2, **options).fit(LAYOUTS[layout](x)))


def test_the_input_is_not_written_to(structure):
    x = EXACT.copy()
    w = np.linspace(0.5, 1.5, len(x))
    before = hashlib.sha256(x.tobytes() + w.tobytes()).digest()
    GaussianMixture(2, covariance_type=structure, random_state=0).fit(x, sample_weight=w).predict_proba(x)
    assert hashlib.sha256(x.tobytes() + w.tobytes()).digest() == before


NAMES = ["height", "mass", "age"]


def as_pandas(x):
    """Return a pandas data frame."""
    return pytest.importorskip("pandas").DataFrame(x, columns=NAMES)


def as_pandas_mixed(x):
    """Return a pandas data frame with one column a dtype, among them a nullable one."""
    table = as_pandas(x)
    return table.astype({"height": "float32", "mass": "int64", "age": "Int32"})


def as_polars(x):
    """Return a Polars data frame."""
    return pytest.importorskip("polars").DataFrame(x, schema=NAMES)


def as_arrow(x):
    """Return an Arrow table of several chunks."""
    pa = pytest.importorskip("pyarrow")
    parts = [pa.table({name: part[:, j] for j, name in enumerate(NAMES)}) for part in np.array_split(x, 3)]
    return pa.concat_tables(parts)


TABLES = {"pandas": as_pandas, "pandas mixed": as_pandas_mixed, "polars": as_polars, "arrow": as_arrow}


@pytest.mark.parametrize("table", TABLES)
def test_tables_give_the_bits_of_the_array(structure, table, plain):
    data = TABLES[table](EXACT)
    model = GaussianMixture(2, covariance_type=structure, random_state=0, max_iter=5).fit(data)
    assert_same_bits(plain[structure], model)
    assert list(model.feature_names_in_) == NAMES
    for method in ("score_samples", "predict_proba", "predict", "score", "bic"):
        expected = getattr(plain[structure], method)(EXACT)
        assert_array_equal(getattr(model, method)(data), expected, err_msg=method)


def test_columns_by_number_and_odd_index_give_the_bits_of_the_array(structure, plain):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(EXACT, index=np.arange(500) % 7)
    model = GaussianMixture(2, covariance_type=structure, random_state=0, max_iter=5).fit(table)
    assert_same_bits(plain[structure], model)
    assert_array_equal(model.predict_proba(table), plain[structure].predict_proba(EXACT))


def vectors():
    """Return one column in every one-dimensional container."""
    x = EXACT[:, 0]
    yield "column", x[:, None]
    yield "array", x
    yield "strided", EXACT.copy()[:, 0]
    yield "list", x.tolist()
    yield "float32", x.astype(np.float32)
    yield "integers", x.astype(int)
    for package in ("pandas", "polars"):
        yield f"{package} Series", getattr(pytest.importorskip(package), "Series")(x)  # noqa: B009
    yield "Arrow array", pytest.importorskip("pyarrow").chunked_array([x[:100], x[100:]])


def test_vectors_give_the_bits_and_shapes_of_a_column(structure):
    options = {"covariance_type": structure, "random_state": 0, "max_iter": 5}
    expected = GaussianMixture(2, **options).fit(EXACT[:, :1])
    for name, x in vectors():
        model = GaussianMixture(2, **options).fit(x)
        assert_same_bits(expected, model)
        assert model.means_.shape == (2, 1), name
        assert model.n_features_in_ == 1, name
        assert_array_equal(model.predict_proba(x), expected.predict_proba(EXACT[:, :1]), err_msg=name)


def test_row_weights_from_any_container(structure):
    w = np.arange(500) % 3
    options = {"covariance_type": structure, "random_state": 0, "max_iter": 5}
    expected = GaussianMixture(2, **options).fit(EXACT, sample_weight=w.astype(float))
    containers = [w, w.astype(np.float32), w.tolist(), read_only(w), np.repeat(w, 2)[::2]]
    containers += [getattr(pytest.importorskip(p), "Series")(w) for p in ("pandas", "polars")]  # noqa: B009
    for container in containers:
        assert_same_bits(expected, GaussianMixture(2, **options).fit(EXACT, sample_weight=container))


def test_poisson_counts_from_any_container():
    x = np.random.default_rng(7).poisson([2.0, 7.0, 4.0], size=(400, 3))
    options = {"random_state": 0, "max_iter": 5}
    expected = MixtureModel(Poisson(), 2, **options).fit(x)
    for data in (
        x.astype(float),
        x.astype(np.float32),
        x.astype(np.uint8),
        np.asfortranarray(x),
        as_polars(x),
    ):
        assert_same_bits(expected, MixtureModel(Poisson(), 2, **options).fit(data))


@pytest.mark.parametrize("method", ["kmeans", "k-means++"])
def test_a_start_from_weights_is_that_from_copies(method):
    """Draws go by the cumulative weight, so the same seed starts weighted rows where it starts their copies."""
    rng = np.random.default_rng(11)
    x, copies = rng.standard_normal((150, 2)), rng.integers(0, 5, 150)
    weighted, copied = (
        GaussianMixture(4, init_params=method, random_state=5, max_iter=1, tol=0.0).fit(rows, sample_weight=weight)
        for rows, weight in ((x, copies), (np.repeat(x, copies, axis=0), None))
    )
    assert_allclose(weighted.means_, copied.means_, rtol=1e-9)
    assert_allclose(weighted.weights_, copied.weights_, rtol=1e-9)
