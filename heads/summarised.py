"""A domain and intervals without the training rows: what is left of them where the data may not leave."""

from dataclasses import replace

import numpy as np
from sklearn.cluster import KMeans

from heads.domain import Domain, Place, Space
from heads.intervals import Intervals

ROWS_A_CENTRE = 8
MOST_CENTRES = 64
FEWEST = 3  # rows that a centre stands for; one of fewer would be nearly a row itself


def summarised_domain(domain: Domain) -> Domain:
    """Return a domain of k-means centres (Lloyd 1982) in place of the training rows.

    Its own distances are those of the training rows from the centres, in order of size, so that a percentile
    says the same; neighbours it has none. Rows that a source model has no vector of are left out.
    """
    names = list(domain.spaces)
    there = np.all([np.isfinite(space.points).all(axis=1) for space in domain.spaces.values()], axis=0)
    parts = [domain.spaces[name].points[there] / domain.spaces[name].typical for name in names]
    points = np.concatenate(parts, axis=1)
    count = int(np.clip(len(points) // ROWS_A_CENTRE, 1, MOST_CENTRES))
    found = KMeans(count, n_init=4, random_state=0).fit(points)
    held = np.bincount(found.labels_, minlength=count) >= min(FEWEST, len(points))
    centres = found.cluster_centers_[held]
    spaces: dict[str, Space] = {}
    at = 0
    for name in names:
        space, width = domain.spaces[name], len(domain.spaces[name].axes)
        spaces[name] = replace(space, points=centres[:, at : at + width] * space.typical)
        at += width
    own = {name: domain.spaces[name].points[there] for name in names}
    place = Domain(spaces, domain.own, domain.elements).at(own, [()] * len(points))
    return Domain(spaces, _without_neighbours(place), domain.elements)


def _without_neighbours(place: Place) -> Place:
    """Leave of the place of n training rows how far they lie, in order of size, and not which lies where."""
    n = len(place.distance)
    return Place(
        distance=np.sort(place.distance),
        remoteness=np.sort(place.remoteness),
        percentile=np.linspace(0, 100, n),
        near=np.empty((n, 0), np.int64),
        far=np.empty((n, 0)),
        new=((),) * n,
    )


def summarised_intervals(intervals: Intervals) -> Intervals:
    """Return intervals of one width, by the sorted residuals; which row had which is not told.

    What makes some rows harder than others is learned from values of training rows, and left out with them.
    """
    residuals = np.sort(intervals.residuals)
    nothing = np.empty(0)
    return Intervals(residuals, np.ones(len(residuals)), nothing, nothing, intervals.log, None)
