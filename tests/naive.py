"""Loops-only oracle of log-likelihoods and single EM updates.

Every formula here is written out a second time, on purpose, as plainly as it can be: Python floats, ``math``
and lists. It imports nothing of ours and no NumPy, uses no trick, and sums with ``math.fsum``, so that it is
more exact than what it checks. It is slow: give it a few hundred rows at most.

Arguments may be anything that indexes like nested lists (NumPy arrays do). Results are lists and floats.

========== ================== =============================
structure  ``covariances``    covariance of component ``j``
========== ================== =============================
full       ``[k][d][d]``      ``covariances[j]``
tied       ``[d][d]``         ``covariances``
diag       ``[k][d]``         diagonal ``covariances[j]``
spherical  ``[k]``            ``covariances[j]`` times identity
========== ================== =============================
"""

import math

# ---------------------------------------------------------------- pieces that any mixture has


def log_sum_exp(values):
    """Return log(sum of exp(values)), with the largest taken out first."""
    largest = max(values)
    if largest == -math.inf:
        return -math.inf
    return largest + math.log(math.fsum(math.exp(v - largest) for v in values))


def log_or_minus_infinity(value):
    """Return log(value), where log(0) is minus infinity."""
    return math.log(value) if value > 0 else -math.inf


def ones_if_none(row_weights, n):
    """Return the row weights as floats; a missing one is 1."""
    return [1.0] * n if row_weights is None else [float(w) for w in row_weights]


def total_loglik(log_joint, row_weights=None):
    """Return the sum over rows of weight times log density; a row of weight 0 is not there."""
    row_weights = ones_if_none(row_weights, len(log_joint))
    return math.fsum(w * log_sum_exp(row) for w, row in zip(row_weights, log_joint, strict=True) if w != 0)


def posterior(log_joint):
    """Return the responsibilities [n][k] from log(weight x density) [n][k]."""
    resp = []
    for row in log_joint:
        log_density = log_sum_exp(row)
        resp.append([math.exp(value - log_density) for value in row])
    return resp


def weighted_resp(log_joint, row_weights):
    """Return responsibilities times row weights [n][k], and their sums over rows [k]."""
    row_weights = ones_if_none(row_weights, len(log_joint))
    wr = [[w * r for r in row] for w, row in zip(row_weights, posterior(log_joint), strict=True)]
    counts = [math.fsum(row[j] for row in wr) for j in range(len(wr[0]))]
    return wr, counts


def weighted_means(x, wr, counts):
    """Return the means [k][d] of the rows under the weighted responsibilities."""
    k, d = len(counts), len(x[0])
    return [
        [math.fsum(wr[i][j] * float(x[i][a]) for i in range(len(x))) / counts[j] for a in range(d)] for j in range(k)
    ]


# ---------------------------------------------------------------- Gaussian mixture


def covariance_matrix(covariances, structure, j, d):
    """Return the covariance of component ``j`` written out as [d][d]."""
    if structure == "full":
        return [[float(covariances[j][a][b]) for b in range(d)] for a in range(d)]
    if structure == "tied":
        return [[float(covariances[a][b]) for b in range(d)] for a in range(d)]
    if structure == "diag":
        return [[float(covariances[j][a]) if a == b else 0.0 for b in range(d)] for a in range(d)]
    if structure == "spherical":
        return [[float(covariances[j]) if a == b else 0.0 for b in range(d)] for a in range(d)]
    raise ValueError(structure)


def cholesky(matrix):
    """Return the lower triangle L [d][d] with L L' = matrix."""
    d = len(matrix)
    lower = [[0.0] * d for _ in range(d)]
    for a in range(d):
        for b in range(a + 1):
            rest = matrix[a][b] - math.fsum(lower[a][c] * lower[b][c] for c in range(b))
            lower[a][b] = math.sqrt(rest) if a == b else rest / lower[b][b]
    return lower


def gaussian_log_density(row, mean, lower):
    """Return log N(row; mean, L L') with all constants."""
    d = len(mean)
    z = []  # solves L z = row - mean, forwards
    for a in range(d):
        difference = float(row[a]) - float(mean[a])
        z.append((difference - math.fsum(lower[a][c] * z[c] for c in range(a))) / lower[a][a])
    half_log_det = math.fsum(math.log(lower[a][a]) for a in range(d))
    return -0.5 * math.fsum(v * v for v in z) - half_log_det - 0.5 * d * math.log(2 * math.pi)


def gaussian_log_joint(x, weights, means, covariances, structure):
    """Return log(weight x density) [n][k]."""
    k, d = len(means), len(means[0])
    lowers = [cholesky(covariance_matrix(covariances, structure, j, d)) for j in range(k)]
    log_weights = [log_or_minus_infinity(w) for w in weights]
    return [[log_weights[j] + gaussian_log_density(row, means[j], lowers[j]) for j in range(k)] for row in x]


def gaussian_loglik(x, weights, means, covariances, structure="full", row_weights=None):
    """Return the total log-likelihood, natural log, all constants."""
    return total_loglik(gaussian_log_joint(x, weights, means, covariances, structure), row_weights)


def gaussian_responsibilities(x, weights, means, covariances, structure="full"):
    """Return P(component | row) [n][k]."""
    return posterior(gaussian_log_joint(x, weights, means, covariances, structure))


def gaussian_update(x, weights, means, covariances, structure="full", row_weights=None, reg_covar=0.0):
    """Return (weights, means, covariances) after one EM update; ``reg_covar`` is added to the diagonal."""
    log_joint = gaussian_log_joint(x, weights, means, covariances, structure)
    wr, counts = weighted_resp(log_joint, row_weights)
    total = math.fsum(counts)
    new_means = weighted_means(x, wr, counts)
    scatters = [scatter(x, [row[j] for row in wr], new_means[j]) for j in range(len(counts))]
    new_covariances = structured(scatters, counts, structure, reg_covar)
    return [count / total for count in counts], new_means, new_covariances


def scatter(x, row_weights, mean):
    """Return the weighted sum of squares and products about ``mean`` [d][d]: the second of two passes."""
    d = len(mean)
    out = [[0.0] * d for _ in range(d)]
    for a in range(d):
        for b in range(d):
            out[a][b] = math.fsum(
                w * (float(row[a]) - mean[a]) * (float(row[b]) - mean[b]) for w, row in zip(row_weights, x, strict=True)
            )
    return out


def structured(scatters, counts, structure, reg_covar):
    """Return the covariances of maximal likelihood under the structure, plus ``reg_covar``."""
    k, d = len(scatters), len(scatters[0])
    if structure == "full":
        return [
            [[scatters[j][a][b] / counts[j] + (reg_covar if a == b else 0.0) for b in range(d)] for a in range(d)]
            for j in range(k)
        ]
    if structure == "tied":
        total = math.fsum(counts)
        return [
            [math.fsum(scatters[j][a][b] for j in range(k)) / total + (reg_covar if a == b else 0.0) for b in range(d)]
            for a in range(d)
        ]
    variances = [[scatters[j][a][a] / counts[j] + reg_covar for a in range(d)] for j in range(k)]
    if structure == "diag":
        return variances
    if structure == "spherical":
        return [math.fsum(row) / d for row in variances]
    raise ValueError(structure)


# ---------------------------------------------------------------- Gaussian mixture of one column, seen in bins

STRIPS = 2000  # of Simpson's rule


def bin_moments(low, high, mean, sd):
    """Return log P(low < x < high), and the first two moments of (x - mean) / sd there, by Simpson's rule."""
    a, b = (float(low) - mean) / sd, (float(high) - mean) / sd
    near = min(max(a, 0.0), b)  # where in the bin the density is highest
    reach = min(9.0, 40 / (1 + abs(near)))  # beyond, the density is less than a rounding of that at `near`
    a, b = max(a, near - reach), min(b, near + reach)
    step = (b - a) / STRIPS
    points = [a + step * i for i in range(STRIPS + 1)]
    weights = [1.0 if i in (0, STRIPS) else 4.0 if i % 2 else 2.0 for i in range(STRIPS + 1)]
    density = [w * math.exp((near - t) * (near + t) / 2) for w, t in zip(weights, points, strict=True)]
    total = math.fsum(density)
    first = math.fsum(p * t for p, t in zip(density, points, strict=True)) / total
    second = math.fsum(p * t * t for p, t in zip(density, points, strict=True)) / total
    return math.log(total * step / 3) - near * near / 2 - math.log(2 * math.pi) / 2, first, second


def binned_update(edges, counts, weights, means, variances, *, tied=False):
    """Return the log-likelihood, and (weights, means, variances) after one EM update; variances are [k]."""
    k, m = len(weights), len(counts)
    moments = [
        [bin_moments(edges[i], edges[i + 1], means[j], math.sqrt(variances[j])) for j in range(k)] for i in range(m)
    ]
    log_joint = [[math.log(weights[j]) + moments[i][j][0] for j in range(k)] for i in range(m)]
    wr, sizes = weighted_resp(log_joint, counts)
    new_means, scatters = [], []
    for j in range(k):
        sd = math.sqrt(variances[j])
        value = [means[j] + sd * moments[i][j][1] for i in range(m)]
        spread = [sd * sd * (moments[i][j][2] - moments[i][j][1] ** 2) for i in range(m)]
        mean = math.fsum(wr[i][j] * value[i] for i in range(m)) / sizes[j]
        new_means.append(mean)
        scatters.append(math.fsum(wr[i][j] * ((value[i] - mean) ** 2 + spread[i]) for i in range(m)))
    total = math.fsum(sizes)
    new_variances = [math.fsum(scatters) / total] * k if tied else [s / n for s, n in zip(scatters, sizes, strict=True)]
    return total_loglik(log_joint, counts), [n / total for n in sizes], new_means, new_variances


# ---------------------------------------------------------------- Poisson mixture, independent columns


def poisson_log_density(row, rates):
    """Return the sum over columns of log Poisson(row; rate); a rate of 0 allows only a count of 0."""
    terms = []
    for count, rate in zip(row, rates, strict=True):
        count, rate = float(count), float(rate)
        if rate == 0:
            terms.append(0.0 if count == 0 else -math.inf)
        else:
            terms.extend((count * math.log(rate), -rate, -math.lgamma(count + 1)))
    return -math.inf if -math.inf in terms else math.fsum(terms)


def poisson_log_joint(x, weights, rates):
    """Return log(weight x density) [n][k]."""
    log_weights = [log_or_minus_infinity(w) for w in weights]
    return [
        [log_weight + poisson_log_density(row, rate) for log_weight, rate in zip(log_weights, rates, strict=True)]
        for row in x
    ]


def poisson_loglik(x, weights, rates, row_weights=None):
    """Return the total log-likelihood, natural log, all constants (log n! included)."""
    return total_loglik(poisson_log_joint(x, weights, rates), row_weights)


def poisson_responsibilities(x, weights, rates):
    """Return P(component | row) [n][k]."""
    return posterior(poisson_log_joint(x, weights, rates))


def poisson_update(x, weights, rates, row_weights=None):
    """Return (weights, rates) after one EM update."""
    wr, counts = weighted_resp(poisson_log_joint(x, weights, rates), row_weights)
    total = math.fsum(counts)
    return [count / total for count in counts], weighted_means(x, wr, counts)


# ---------------------------------------------------------------- Gaussian mixture of rows that lack values (NaN)


def observed_columns(row):
    """Return which columns of a row have a value."""
    return [a for a, value in enumerate(row) if not math.isnan(value)]


def submatrix(matrix, rows, columns):
    """Return the entries of these rows and columns."""
    return [[matrix[a][b] for b in columns] for a in rows]


def solve(lower, right):
    """Return the solution of L L' v = right."""
    d = len(right)
    v = list(right)
    for a in range(d):
        v[a] = (v[a] - math.fsum(lower[a][c] * v[c] for c in range(a))) / lower[a][a]
    for a in reversed(range(d)):
        v[a] = (v[a] - math.fsum(lower[c][a] * v[c] for c in range(a + 1, d))) / lower[a][a]
    return v


def missing_log_joint(x, weights, means, covariances, structure):
    """Return log(weight x density of what was observed) [n][k]."""
    k, d = len(means), len(means[0])
    joint = []
    for row in x:
        seen = observed_columns(row)
        values = [row[a] for a in seen]
        joint.append([])
        for j in range(k):
            matrix = submatrix(covariance_matrix(covariances, structure, j, d), seen, seen)
            mean = [means[j][a] for a in seen]
            joint[-1].append(log_or_minus_infinity(weights[j]) + gaussian_log_density(values, mean, cholesky(matrix)))
    return joint


def missing_completion(row, mean, matrix):
    """Return the expectation [d] and covariance [d][d] of a row of one component, given what was observed."""
    d, seen = len(mean), observed_columns(row)
    lower = cholesky(submatrix(matrix, seen, seen))
    pull = solve(lower, [row[a] - mean[a] for a in seen])
    filled = [float(v) for v in row]
    spread = [[0.0] * d for _ in range(d)]
    unseen = [a for a in range(d) if a not in seen]
    for a in unseen:
        filled[a] = mean[a] + math.fsum(matrix[a][c] * p for c, p in zip(seen, pull, strict=True))
        for b in unseen:
            back = solve(lower, [matrix[c][b] for c in seen])
            spread[a][b] = matrix[a][b] - math.fsum(matrix[a][c] * v for c, v in zip(seen, back, strict=True))
    return filled, spread


def missing_update(x, weights, means, covariances, structure="full", row_weights=None):
    """Return (weights, means, covariances) after one EM update from rows of which values are missing."""
    k, d = len(means), len(means[0])
    wr, counts = weighted_resp(missing_log_joint(x, weights, means, covariances, structure), row_weights)
    total = math.fsum(counts)
    new_means, scatters = [], []
    for j in range(k):
        matrix = covariance_matrix(covariances, structure, j, d)
        completed = [missing_completion(row, means[j], matrix) for row in x]
        filled, r = [rows for rows, _ in completed], [row[j] for row in wr]
        new_means.append([math.fsum(r[i] * filled[i][a] for i in range(len(x))) / counts[j] for a in range(d)])
        spreads = [[math.fsum(r[i] * completed[i][1][a][b] for i in range(len(x))) for b in range(d)] for a in range(d)]
        about = scatter(filled, r, new_means[j])
        scatters.append([[about[a][b] + spreads[a][b] for b in range(d)] for a in range(d)])
    return [count / total for count in counts], new_means, structured(scatters, counts, structure, 0.0)
