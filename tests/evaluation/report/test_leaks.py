"""What the page says of test entries that were seen before."""

from evaluation.evaluate import evaluate
from evaluation.report.contents import gather
from featurestore.splits.duplicates import update
from tests.evaluation.conftest import DATASET, TWINS, add_megnet


def leaks_of(small):
    page = gather(small.params, small.store, small.root / "plots/parity.csv", small.root / "params.yaml")
    return page.details[DATASET, "volume"].leaks


def test_crystals_are_compared_once_their_groups_are_known(leaky):
    add_megnet(leaky)
    evaluate(leaky.params, leaky.store, leaky.root)
    found = leaks_of(leaky)
    assert (found.tested, found.in_parts, found.in_any_cell) == (10, 0, False)  # they lie in other cells
    assert found.clean_mae == 5.5
    update(leaky.store)
    found = leaks_of(leaky)
    assert (found.in_parts, found.in_any_cell) == (len(TWINS), True)
    assert found.seen_by == {"alignn_mp_eform": 1}  # mp-1, of the training part
    assert found.clean == 7
    assert found.clean_mae == (4 + 5 + 6 + 7 + 8 + 9 + 10) / 7


def test_without_a_split_nothing_is_said_of_other_parts(small):
    evaluate(small.params, small.store, small.root)
    assert leaks_of(small).in_parts is None
