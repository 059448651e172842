"""ALIGNN: its graphs, their compression by symmetry, and its forward pass."""
