"""K-means in plain loops, written from formulas K6 to K8. It imports nothing of ours.

Sums are `math.fsum`, rounded once.
"""

import math


def squared_distance(row, centre):
    return math.fsum((a - b) ** 2 for a, b in zip(row, centre, strict=True))


def assign(rows, centres):
    """Return the number of the nearest centre of each row, the first of equally near ones."""
    return [min(range(len(centres)), key=lambda k: (squared_distance(row, centres[k]), k)) for row in rows]


def inertia(rows, weights, centres, labels):
    found = zip(rows, weights, labels, strict=True)
    return math.fsum(w * squared_distance(row, centres[label]) for row, w, label in found)


def update(rows, weights, centres, labels):
    """Return the weighted mean of the rows of each cluster; one without rows stays."""
    moved = []
    for k, centre in enumerate(centres):
        mine = [(row, w) for row, w, label in zip(rows, weights, labels, strict=True) if label == k and w > 0]
        total = math.fsum(w for _, w in mine)
        columns = range(len(centre))
        moved.append([math.fsum(w * row[j] for row, w in mine) / total for j in columns] if mine else list(centre))
    return moved


def fit(rows, weights, centres, updates):
    """Return the centres after so many updates, the labels and the inertia at them."""
    for _ in range(updates):
        centres = update(rows, weights, centres, assign(rows, centres))
    labels = assign(rows, centres)
    return centres, labels, inertia(rows, weights, centres, labels)
