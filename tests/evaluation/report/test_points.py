"""Which points are drawn."""

from evaluation.report.points import SHOWN_POINTS, Point, thin


def test_many_points_are_thinned_alike_each_time():
    points = [Point(str(i), 0.0, float(i % 997)) for i in range(5000)]
    kept = thin(points)
    assert len(kept) == SHOWN_POINTS
    assert kept == thin(points)
    worst = sorted(points, key=lambda point: -point.predicted)[:10]
    assert set(worst) <= set(kept)
