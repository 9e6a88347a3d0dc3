"""The scikit-learn facade: one estimator a file."""
