"""The page, its sections and its figures."""
