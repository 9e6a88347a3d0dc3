"""Compiled E-steps, and the vocabulary in which they are written."""
