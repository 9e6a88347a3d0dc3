"""How high a likelihood the default settings reach on real data, and in what time, beside scikit-learn's restarts.

    python -m benchmarks.answers [--quick] [--json FILE] [--peers FILE]

Every data set is fitted with K = 2 to 6 components of the four structures, each library with its default settings but
for one explicit regularisation; scikit-learn also with 10 and 50 restarts. Columns are scaled to unit variance, so that
the regularisation means the same for all. Times are of the processor, on one core. A component whose least variance is
within a few times the regularisation is at the floor: a spike on a few rows, whose height says nothing. Optima with
such a component, of either side, are counted apart.
"""

import argparse
import json
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.data import galaxies

COMPONENTS = (2, 3, 4, 5, 6)
STRUCTURES = ("full", "tied", "diag", "spherical")
RESTARTS = (1, 10, 50)
REG_COVAR = 1e-6
FLOOR = 10 * REG_COVAR  # a least variance below this is that of a spike
BEHIND = 1e-3  # of the log-likelihood of a data set, that counts
PIXELS = 97  # of a photograph, one in so many
QUICK = ("iris", "galaxies", "engel", "nile")


def datasets():
    """Return real data by name: rows (n, d), not scaled."""
    from sklearn import datasets as sk
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import scale
    from statsmodels import datasets as sm

    def shipped(name, *columns):
        table = getattr(sm, name).load_pandas().data
        return (table[list(columns)] if columns else table).to_numpy(dtype=float)

    return {
        "iris": sk.load_iris().data,
        "wine": sk.load_wine().data,
        "breast_cancer": sk.load_breast_cancer().data,
        "diabetes": sk.load_diabetes().data,
        "linnerud": np.hstack([sk.load_linnerud().data, sk.load_linnerud().target]),
        "digits, 8 principal components": PCA(8, svd_solver="full").fit_transform(scale(sk.load_digits().data)),
        "china.jpg, pixels": sk.load_sample_image("china.jpg").reshape(-1, 3)[::PIXELS].astype(float),
        "flower.jpg, pixels": sk.load_sample_image("flower.jpg").reshape(-1, 3)[::PIXELS].astype(float),
        "galaxies": galaxies(),
        "engel": shipped("engel"),
        "interest_inflation": shipped("interest_inflation", "Dp", "R"),
        "nile": shipped("nile", "volume"),
        "sunspots": shipped("sunspots", "SUNACTIVITY"),
        "statecrime": shipped("statecrime"),
        "elnino": shipped("elnino")[:, 1:],
    }


def fit(estimator, x):
    """Return the log-likelihood that a fit reaches, whether a component is at the floor, and the seconds it takes."""
    begun = time.process_time()
    estimator.fit(x)
    spent = time.process_time() - begun
    covariances = estimator.covariances_
    if estimator.covariance_type in ("full", "tied"):
        covariances = np.linalg.eigvalsh(covariances)
    return {
        "loglik": float(estimator.score(x) * len(x)),
        "floor": bool(np.min(covariances) < FLOOR),
        "seconds": spent,
    }


def cases(names):
    """Yield (data set, structure, K, rows, options) of every fit."""
    from sklearn.preprocessing import scale

    for name, rows in datasets().items():
        if names and name not in names:
            continue
        x = scale(rows)
        for structure in STRUCTURES:
            for k in COMPONENTS:
                if k < len(x):
                    yield (
                        name,
                        structure,
                        k,
                        x,
                        {"covariance_type": structure, "reg_covar": REG_COVAR, "random_state": 0},
                    )


def run(names, restarts, known):
    """Yield a record of each case: ours, and scikit-learn's by number of restarts, those known taken from there."""
    from sklearn.mixture import GaussianMixture as Peer

    from mixtura import GaussianMixture

    GaussianMixture(2).fit(np.arange(8.0))  # imports
    for name, structure, k, x, options in cases(names):
        peers = known.get((name, structure, k)) or {str(n): fit(Peer(k, n_init=n, **options), x) for n in restarts}
        yield {
            "data": name, "rows": len(x), "columns": x.shape[1], "structure": structure, "k": k,
            "ours": fit(GaussianMixture(k, **options), x), "peers": peers,
        }  # fmt: skip


def outcome(record, n):
    """Return "win", "tie" or "loss" against n restarts, or "floor" where a component of either side is there."""
    ours, theirs = record["ours"], record["peers"][str(n)]
    if ours["floor"] or theirs["floor"]:
        return "floor"
    gain = ours["loglik"] - theirs["loglik"]
    return "tie" if abs(gain) <= BEHIND else "win" if gain > 0 else "loss"


def summarize(records, restarts):
    """Return the table by data set as lines of Markdown, with the totals in the last."""
    head = ["data", "rows", "columns", *(f"against n_init={n}" for n in restarts), "at the floor, ours : theirs",
            "seconds", *(f"n_init={n}" for n in restarts)]  # fmt: skip
    groups = defaultdict(list)
    for record in records:
        groups[record["data"]].append(record)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, group in [*groups.items(), ("all", records)]:
        results = [[outcome(record, n) for record in group] for n in restarts]
        tallies = [" / ".join(str(found.count(what)) for what in ("win", "tie", "loss")) for found in results]
        floors = [sum(record["ours"]["floor"] for record in group)]
        floors.append("/".join(str(sum(r["peers"][str(n)]["floor"] for r in group)) for n in restarts))
        spent = [sum(r["ours"]["seconds"] for r in group)]
        spent += [sum(r["peers"][str(n)]["seconds"] for r in group) for n in restarts]
        size = ["", ""] if name == "all" else [str(group[0]["rows"]), str(group[0]["columns"])]
        cells = [name, *size, *tallies, f"{floors[0]} : {floors[1]}", *(f"{s:.1f}" for s in spent)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def losses(records, restarts):
    """Return a line for each case in which we are behind."""
    lines = []
    for n in restarts:
        for r in (record for record in records if outcome(record, n) == "loss"):
            behind = r["peers"][str(n)]["loglik"] - r["ours"]["loglik"]
            lines.append(f"{r['data']}, {r['structure']}, K={r['k']}: {behind:.3g} behind n_init={n}")
    return lines


def main(arguments=None):
    """Print the table and return 0, or 1 where we are behind scikit-learn's default."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.answers")
    parser.add_argument("--quick", action="store_true", help="four data sets, and no 50 restarts")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--peers", type=Path, help="take scikit-learn's figures from this file of an earlier run")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # a fit that has not converged is a fit
    restarts = RESTARTS[:2] if options.quick else RESTARTS
    earlier = json.loads(options.peers.read_text()) if options.peers else []
    known = {(r["data"], r["structure"], r["k"]): r["peers"] for r in earlier}
    records = []
    for record in run(QUICK if options.quick else (), restarts, known):
        records.append(record)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1))
    print("wins / ties / losses, of optima without a component at the floor\n")
    print("\n".join([*summarize(records, restarts), "", *losses(records, restarts)]))
    return 0 if all(outcome(record, 1) != "loss" for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
