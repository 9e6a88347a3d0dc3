"""K-means in plain loops, written from formulas K6 to K8. It imports nothing of ours.

Sums are `math.fsum`, rounded once.
"""

import math


def squared_distance(row, center):
    return math.fsum((a - b) ** 2 for a, b in zip(row, center, strict=True))


def assign(rows, centers):
    """Return the number of the nearest center of each row, the first of equally near ones."""
    return [min(range(len(centers)), key=lambda k: (squared_distance(row, centers[k]), k)) for row in rows]


def inertia(rows, weights, centers, labels):
    found = zip(rows, weights, labels, strict=True)
    return math.fsum(w * squared_distance(row, centers[label]) for row, w, label in found)


def update(rows, weights, centers, labels):
    """Return the weighted mean of the rows of each cluster; one without rows stays."""
    moved = []
    for k, center in enumerate(centers):
        mine = [(row, w) for row, w, label in zip(rows, weights, labels, strict=True) if label == k and w > 0]
        total = math.fsum(w for _, w in mine)
        columns = range(len(center))
        moved.append([math.fsum(w * row[j] for row, w in mine) / total for j in columns] if mine else list(center))
    return moved


def fit(rows, weights, centers, updates):
    """Return the centers after so many updates, the labels and the inertia at them."""
    for _ in range(updates):
        centers = update(rows, weights, centers, assign(rows, centers))
    labels = assign(rows, centers)
    return centers, labels, inertia(rows, weights, centers, labels)
