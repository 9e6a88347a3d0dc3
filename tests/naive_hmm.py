"""Hidden Markov models by enumeration of all paths: the oracle of short sequences. It imports nothing of ours.

Densities come as plain numbers, ``densities[t][j]`` of row t in state j.
"""

import itertools
import math


def path_probability(path, densities, start, transmat):
    """Return the joint probability of a path and the rows."""
    probability = start[path[0]] * densities[0][path[0]]
    for t in range(1, len(path)):
        probability *= transmat[path[t - 1]][path[t]] * densities[t][path[t]]
    return float(probability)


def all_paths(densities, start, transmat):
    """Return every path with its joint probability."""
    k = len(start)
    paths = itertools.product(range(k), repeat=len(densities))
    return [(path, path_probability(path, densities, start, transmat)) for path in paths]


def enumerate_paths(densities, start, transmat):
    """Return the log-likelihood, the posteriors [n][k], the expected transitions [k][k], the best path and its log."""
    n, k = len(densities), len(start)
    paths = all_paths(densities, start, transmat)
    total = math.fsum(p for _, p in paths)
    posterior = [[math.fsum(p for path, p in paths if path[t] == j) / total for j in range(k)] for t in range(n)]
    transitions = [
        [math.fsum(p * sum(pair == (i, j) for pair in itertools.pairwise(path)) for path, p in paths) / total
         for j in range(k)]
        for i in range(k)
    ]  # fmt: skip
    best, most = max(paths, key=lambda item: item[1])
    return math.log(total), posterior, transitions, best, math.log(most)
