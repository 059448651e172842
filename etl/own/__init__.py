"""Kinds of data that a user may bring: a module for each, and what they have in common."""
