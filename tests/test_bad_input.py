"""Bad input: the error names the thing and the place, and leaves nothing half-fitted.

Rows and columns are counted from 0, as NumPy counts them; a column of a table goes by its name.
"""

import copy
import functools
import json
import re
import warnings

import numpy as np
import pytest
import scipy.sparse

import mixtura
from mixtura import GaussianMixture, MixtureModel, as_source
from mixtura.families import Poisson

GOOD = np.random.default_rng(0).standard_normal((60, 3))


def with_value(value, row=7, column=1):
    """Return good rows with one bad value."""
    x = GOOD.copy()
    x[row, column] = value
    return x


def weights_with(value, row=7):
    """Return good row weights with one bad value."""
    w = np.ones(60)
    w[row] = value
    return w


def frame(**columns):
    """Return a data frame of the good rows, with further columns."""
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"height": GOOD[:, 0], "mass": GOOD[:, 1]} | columns)


# ---------------------------------------------------------------- fit refuses

# What is fitted, the type of the error, and words that its message must hold (regular expressions, any case).
BAD_DATA = {
    "inf": (lambda: with_value(np.inf), ValueError, ["inf", r"row 7\b", r"column 1\b"]),
    "minus inf": (lambda: with_value(-np.inf), ValueError, ["inf", r"row 7\b", r"column 1\b"]),
    "inf in float32": (
        lambda: with_value(np.inf).astype("f4"),
        ValueError,
        ["inf", r"row 7\b", r"column 1\b"],
    ),
    "inf in a vector": (lambda: with_value(np.inf)[:, 1], ValueError, ["inf", r"row 7\b"]),
    "inf in a table": (lambda: frame(mass=with_value(np.inf)[:, 1]), ValueError, ["inf", r"row 7\b", "mass"]),
    "no rows": (lambda: GOOD[:0], ValueError, [r"\b0\b", "row|sample"]),
    "no columns": (lambda: GOOD[:, :0], ValueError, [r"\b0\b", "column|feature"]),
    "fewer rows than components": (lambda: GOOD[:1], ValueError, [r"\b1\b", r"\b2\b", "component|sample"]),
    "three axes": (lambda: GOOD[None], ValueError, ["3", "dim|axes|axis"]),
    "a number": (lambda: 3.0, ValueError, ["0|scalar", "dim|array|scalar"]),
    "text": (lambda: np.full((60, 2), "x"), ValueError, ["str|text|<U|convert"]),
    "text column": (lambda: frame(name=["x"] * 60), ValueError, ["name", "str|text|object|convert"]),
    "text in a list": (lambda: [["x", 1.0], ["y", 2.0], ["z", 1.0]], ValueError, ["str|text|<U|convert"]),
    "complex": (lambda: GOOD + 1j, ValueError, ["complex"]),
    "sparse": (lambda: scipy.sparse.csr_array(GOOD), TypeError, ["sparse", "dense|toarray"]),
    "sparse matrix": (lambda: scipy.sparse.csc_matrix(GOOD), TypeError, ["sparse"]),
    "datetime": (lambda: np.zeros((60, 2), "M8[s]"), TypeError, ["date"]),
    "timedelta": (lambda: np.zeros((60, 2), "m8[s]"), TypeError, ["time|duration"]),
    "datetime column": (
        lambda: frame(when=np.arange(60).astype("M8[D]").astype("M8[ns]")),
        TypeError,
        ["when", "date"],
    ),
    "masked array": (lambda: np.ma.masked_greater(GOOD, 2.0), ValueError, ["mask|nan"]),
    "dates among objects": (
        lambda: np.array([[1, np.datetime64("2020-01-01")], [2, 3.0]], dtype=object),
        TypeError,
        ["date"],
    ),
    "a dictionary": (lambda: {"a": [1.0, 2.0]}, (TypeError, ValueError), ["dict"]),
    "nothing": (lambda: None, (TypeError, ValueError), ["None"]),
}

BAD_WEIGHTS = {
    "negative": (lambda: weights_with(-1.0), ["negative", "weight", r"row 7\b"]),
    "nan": (lambda: weights_with(np.nan), ["nan", "weight", r"row 7\b"]),
    "inf": (lambda: weights_with(np.inf), ["inf", "weight", r"row 7\b"]),
    "all zero": (lambda: np.zeros(60), ["weight", "zero"]),
    "too few": (lambda: np.ones(59), ["weight", "59", "60"]),
    "two axes": (lambda: np.ones((60, 2)), ["weight", r"\(60, 2\)|2-?D|dim|axes"]),
    "text": (lambda: np.full(60, "x"), ["weight"]),
}

BAD_OPTIONS = {
    "covariance_type": "banded",
    "init_params": "guess",
    "n_components": 0,
    "tol": -1.0,
    "reg_covar": -1e-3,
    "max_iter": -1,
    "n_init": 0,
    "n_threads": 0,
    "warm_start": "maybe",
    "random_state": "seed",
}

FULL = np.stack([np.eye(3)] * 2)
NOT_POSITIVE = FULL.copy()
NOT_POSITIVE[1, 2, 2] = -1.0
ASYMMETRIC = FULL.copy()
ASYMMETRIC[1, 0, 2] = 0.5
BAD_INITS = {
    "weights sum to 0.9": ({"weights_init": [0.5, 0.4]}, ["weights", "0.9"]),
    "weights too many": ({"weights_init": [0.5, 0.3, 0.2]}, ["weights", r"\(2,\)", r"\(3,\)"]),
    "weights out of range": ({"weights_init": [-0.5, 1.5]}, ["weights", r"\[0, 1\]"]),
    "weights nan": ({"weights_init": [np.nan, 0.5]}, ["weights", "nan"]),
    "means of the wrong shape": ({"means_init": np.zeros((2, 4))}, ["means", r"\(2, 3\)", r"\(2, 4\)"]),
    "means nan": ({"means_init": np.full((2, 3), np.nan)}, ["means", "nan"]),
    "full not positive": ({"precisions_init": NOT_POSITIVE}, ["precision", "positive"]),
    "full asymmetric": ({"precisions_init": ASYMMETRIC}, ["precision", "symmetric"]),
    "full of the wrong shape": ({"precisions_init": FULL[:1]}, ["precision", r"\(2, 3, 3\)", r"\(1, 3, 3\)"]),
    "full nan": ({"precisions_init": FULL * np.nan}, ["precision", "nan"]),
    "tied not positive": (
        {"covariance_type": "tied", "precisions_init": NOT_POSITIVE[1]},
        ["precision", "positive"],
    ),
    "diag not positive": (
        {"covariance_type": "diag", "precisions_init": [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]},
        ["precision", "positive"],
    ),
    "spherical not positive": (
        {"covariance_type": "spherical", "precisions_init": [1.0, -1.0]},
        ["precision", "positive"],
    ),
    "a shape of another structure": (
        {"covariance_type": "diag", "precisions_init": FULL},
        ["precision", r"\(2, 3\)", r"\(2, 3, 3\)"],
    ),
}


def all_of(words):
    """Return a regular expression that needs every one of the words, in any order and case."""
    return "(?is)" + "".join(f"(?=.*(?:{word}))" for word in words)


def all_words_in(error, words):
    """Tell whether the message of an error holds every one of the words."""
    return re.match(all_of(words), str(error)) is not None


def assert_refused(estimator, fitted_state, error, words, x, **kwargs):
    """Fit, expect the error, and find the estimator as it was."""
    before = fitted_state(estimator)
    with pytest.raises(error, match=all_of(words)) as caught:
        estimator.fit(x, **kwargs)
    assert len(str(caught.value)) < 500, "an error is a sentence or two"
    after = fitted_state(estimator)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


@functools.cache
def fit_of_good_rows():
    return GaussianMixture(2, random_state=0).fit(GOOD)


def fitted():
    """Return an estimator that was fitted before, to be spoiled."""
    return copy.copy(fit_of_good_rows())


@pytest.fixture(params=["new", "fitted"])
def estimator(request):
    """A new estimator, and one that was fitted before."""
    return GaussianMixture(2, random_state=0) if request.param == "new" else fitted()


@pytest.mark.parametrize("what", BAD_DATA)
def test_bad_data(what, estimator, fitted_state):
    make, error, words = BAD_DATA[what]
    assert_refused(estimator, fitted_state, error, words, make())


@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_bad_row_weights(what, estimator, fitted_state):
    make, words = BAD_WEIGHTS[what]
    assert_refused(estimator, fitted_state, ValueError, words, GOOD, sample_weight=make())


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_rows_of_weight_zero_are_no_rows(init_params, estimator, fitted_state):
    one_row = np.zeros(60)
    one_row[3] = 1.0
    estimator.set_params(init_params=init_params)
    assert_refused(estimator, fitted_state, ValueError, [r"\b1\b", r"\b2\b"], GOOD, sample_weight=one_row)


@pytest.mark.parametrize("changed", [{"n_components": 3}, {"covariance_type": "diag"}, {"covariance_type": "tied"}])
def test_a_warm_start_from_another_model_is_refused_or_fits_anew(changed, fitted_state):
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(GOOD).set_params(**changed)
    before = fitted_state(model)
    try:
        model.fit(GOOD)
    except ValueError as error:
        assert all_words_in(error, ["warm_start", *changed])
        assert all(value is before[name] for name, value in fitted_state(model).items())
    else:
        anew = GaussianMixture(2, random_state=0).set_params(**changed).fit(GOOD)
        assert model.means_.shape == anew.means_.shape
        assert model.covariances_.shape == anew.covariances_.shape


@pytest.mark.parametrize("family", ["poisson", Poisson, None], ids=["text", "class", "none"])
def test_a_family_is_an_object(family, fitted_state):
    assert_refused(MixtureModel(family, 2), fitted_state, (TypeError, ValueError), ["family"], np.ones((9, 2)))


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name, estimator, fitted_state):
    estimator.set_params(**{name: BAD_OPTIONS[name]})
    assert_refused(estimator, fitted_state, ValueError, [name, str(BAD_OPTIONS[name])], GOOD)


@pytest.mark.parametrize("name", ["covariance_type", "init_params"])
def test_an_unknown_word_lists_those_known(name, fitted_state):
    known = {"covariance_type": ["full", "spherical"], "init_params": ["kmeans", "random_from_data"]}
    assert_refused(GaussianMixture(**{name: "zzz"}), fitted_state, ValueError, [*known[name], "zzz"], GOOD)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="n_clusters"):
        GaussianMixture(n_clusters=2)


@pytest.mark.parametrize("what", BAD_INITS)
def test_bad_starts(what, estimator, fitted_state):
    options, words = BAD_INITS[what]
    assert_refused(estimator.set_params(**options), fitted_state, ValueError, words, GOOD)


@pytest.mark.parametrize(
    ("value", "word"),
    [(-1.0, "negative|whole|integer|count"), (2.5, "2.5|whole|integer|count"), (np.nan, "nan")],
)
def test_poisson_names_what_is_no_count(value, word, fitted_state):
    counts = np.random.default_rng(8).poisson(3.0, size=(60, 3)).astype(float)
    new, fitted = (
        MixtureModel(Poisson(), 2, random_state=0),
        MixtureModel(Poisson(), 2, random_state=0).fit(counts),
    )
    counts[7, 1] = value
    for estimator in (new, fitted):
        assert_refused(estimator, fitted_state, ValueError, [word, r"row 7\b", r"column 1\b"], counts)


# ---------------------------------------------------------------- a fitted model refuses


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "aic", "bic"])
@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (GOOD[:, :2], ValueError, [r"\b2\b", r"\b3\b", "feature|column"]),
        (GOOD[:, 0], ValueError, [r"\b1\b", r"\b3\b", "feature|column"]),
        (with_value(np.inf), ValueError, ["inf", r"row 7\b", r"column 1\b"]),
        (GOOD[None], ValueError, ["3", "dim|axes|axis"]),
        (scipy.sparse.csr_array(GOOD), TypeError, ["sparse"]),
        (GOOD + 1j, ValueError, ["complex"]),
    ],
    ids=["fewer columns", "vector", "inf", "three axes", "sparse", "complex"],
)
def test_bad_rows_to_a_fitted_model(method, x, error, words):
    model = fitted()
    with pytest.raises(error, match=all_of(words)):
        getattr(model, method)(x)


def test_bad_weights_to_a_fitted_model():
    model = fitted()
    with pytest.raises(ValueError, match=all_of(["negative", "weight", r"row 7\b"])):
        model.score(GOOD, sample_weight=weights_with(-1.0))
    with pytest.raises(ValueError, match=all_of(["weight", "59", "60"])):
        model.bic(GOOD, sample_weight=np.ones(59))


def test_columns_by_other_names_are_refused():
    model = GaussianMixture(2, random_state=0).fit(frame())
    with pytest.raises(ValueError, match="weird"):
        model.predict(frame().rename(columns={"mass": "weird"}))


def test_a_row_far_from_everything_has_no_nan(structure):
    model = GaussianMixture(2, covariance_type=structure, random_state=0).fit(GOOD)
    for far in (1e10, 1e160, 1e308):
        x = [[far, -far, far]]
        assert model.predict_proba(x).sum() == pytest.approx(1.0)
        assert model.score_samples(x)[0] < -1e10
        assert model.predict(x)[0] in (0, 1)


def test_a_row_of_density_zero_and_weight_zero_does_not_count():
    model = MixtureModel(Poisson(), 1).fit([[0, 1], [0, 4], [0, 3]])
    x = [[3, 1], [0, 1]]  # the first column was always 0
    assert model.score_samples(x)[0] == -np.inf
    assert model.score(x, sample_weight=[0, 1]) == pytest.approx(model.score(x[1:]))
    assert np.isfinite(model.bic(x, sample_weight=[0, 1]))


def test_sample_needs_a_count():
    model = fitted()
    for n in (0, -1):
        with pytest.raises(ValueError, match="n_samples"):
            model.sample(n)


# ---------------------------------------------------------------- tables and files


def test_an_unknown_column_is_named_with_those_there():
    with pytest.raises(ValueError, match=all_of(["depth", "height", "mass"])):
        as_source(frame(), columns=["height", "depth"])


def test_an_unknown_weight_column_is_named():
    with pytest.raises(ValueError, match="depth"):
        as_source(frame(), columns=["height"], weight="depth")


def test_a_missing_model_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mixtura.load(tmp_path / "nowhere.json")


def test_a_directory_is_no_model_file(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        mixtura.load(tmp_path)


def test_saving_an_unfitted_model_is_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        GaussianMixture().save(tmp_path / "model.json")
    assert not (tmp_path / "model.json").exists()


@pytest.fixture
def model_file(tmp_path):
    """A good model file."""
    path = tmp_path / "model.json"
    fitted().save(path)
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "{}",
        lambda text: "[1, 2]",
        lambda text: "null",
        lambda text: "not json",
        lambda text: "\udcff\udcfe" + text,
    ],
    ids=["cut", "empty", "no keys", "a list", "null", "no json", "no utf-8"],
)
def test_a_damaged_model_file(model_file, damage):
    text = damage(model_file.read_text(encoding="utf-8"))
    model_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"model\.json"):
        mixtura.load(model_file)


def test_a_model_file_of_before_it_counted_missing_values(model_file):
    data = json.loads(model_file.read_text(encoding="utf-8"))
    del data["rows"]
    model_file.write_text(json.dumps(data), encoding="utf-8")
    assert not hasattr(mixtura.load(model_file), "n_missing_")


def leaves(node, path=()):
    """Yield the path of everything in a tree of JSON, in a list only of its last item."""
    if path:
        yield path
    keys = node if isinstance(node, dict) else range(len(node))[-1:] if isinstance(node, list) else ()
    for key in keys:
        yield from leaves(node[key], (*path, key))


def replaced(document, path, value):
    """Return a copy of a tree of JSON with the value at the path replaced; ``...`` removes it."""
    copy = json.loads(json.dumps(document))
    node = copy
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return copy


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical", "poisson"])
def test_any_damage_to_the_values_of_a_model_file_is_found(kind, model_file):
    # Whatever is replaced by nonsense, load either says so with a ValueError that names the file, or gives a
    # model that predicts finite numbers; it never fails otherwise, nor gives a model that predicts NaN.
    x = np.random.default_rng(9).poisson(3.0, size=(60, 3)).astype(float)
    options = {"n_components": 2, "random_state": 0}
    poisson, gaussian = MixtureModel(Poisson(), **options), GaussianMixture(**options)
    (poisson if kind == "poisson" else gaussian.set_params(covariance_type=kind)).fit(x).save(model_file)
    document = json.loads(model_file.read_text(encoding="utf-8"))
    nonsense = (..., None, "zzz", [], {}, -1, 0, 1e308, 10**400, float("nan"), [[1.0, "x"]])
    faults = []
    for path in leaves(document):
        for value in nonsense:
            model_file.write_text(json.dumps(replaced(document, path, value)), encoding="utf-8")
            if fault := fault_of_loading(model_file, x):
                faults.append(f"{'.'.join(map(str, path))} = {str(value)[:20]}: {fault}")
    assert not faults, "\n".join(faults)


def fault_of_loading(path, x):
    """Return what is wrong with how a damaged file is loaded and used, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = mixtura.load(path)
            loglik, resp = model.score_samples(x), model.predict_proba(x)
    except ValueError as error:
        return None if path.name in str(error) else f"{error!r} does not name the file"
    except Exception as error:
        return repr(error)
    if np.isnan(loglik).any() or not np.allclose(resp.sum(axis=1), 1.0):
        return "predicts NaN, or responsibilities that do not sum to 1"
    if not np.isfinite([model.loglik_, model.lower_bound_]).all():
        return "the log-likelihood is not finite"
    return None
