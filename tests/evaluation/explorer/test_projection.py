import numpy as np
import pytest

from evaluation.explorer.projection import nearest, pca, umap


def blobs(seed: int = 0) -> np.ndarray:
    """Two groups of points, far from each other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.standard_normal((15, 6)), 40 + rng.standard_normal((15, 6))]).astype(
        np.float32
    )


def test_rows_without_vectors_have_no_place_and_no_neighbours():
    X = blobs()
    X[3] = np.nan
    first, second = pca(X, "a/last")
    assert np.isnan(first.values).nonzero()[0].tolist() == [3]
    assert np.isnan(second.values).nonzero()[0].tolist() == [3]
    found = nearest(X, 4)
    assert (found.places[3] == -1).all()
    assert not (found.places == 3).any()


def test_the_first_component_tells_groups_apart_and_says_how_much_it_holds():
    first, _ = pca(blobs(), "a/last")
    assert abs(np.sign(first.values[:15]).sum()) == abs(np.sign(first.values[15:]).sum()) == 15
    assert "100% of their variance" in first.about
    assert first.name == "PCA 1 of a/last"


def test_neighbours_are_the_nearest_in_order():
    X = blobs()
    found = nearest(X, 5)
    apart = np.linalg.norm(X[:, None] - X, axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_array_equal(found.places, np.argsort(apart, axis=1)[:, :5])
    np.testing.assert_allclose(found.distances, np.sort(apart, axis=1)[:, :5], rtol=1e-3)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_structures_have_a_place_each(n):
    X = blobs()[:n]
    for columns in (pca(X, "a"), umap(X, "a")):
        assert all(np.isfinite(column.values).all() for column in columns)
    assert (nearest(X, 8).places >= 0).sum() == n * (n - 1)


@pytest.mark.slow  # umap compiles itself
def test_a_umap_is_the_same_twice_and_keeps_groups_together():
    X = blobs()
    once, again = umap(X, "a"), umap(X, "a")
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    places = np.column_stack([column.values for column in once])
    assert set(nearest(places.astype(np.float32), 3).places[:15].ravel()) <= set(range(15))
