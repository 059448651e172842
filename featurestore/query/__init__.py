"""Asking: SQL views, matrices, neighbours, and how answers are written."""
