"""The map of structures: every structure a point, and what is known of it, as one page."""
