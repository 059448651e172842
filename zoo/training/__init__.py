"""Networks of a target's own: one loop that trains them, from random weights or from a source model's."""
