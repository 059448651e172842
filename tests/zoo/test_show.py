"""What of a table of predictions is put on a screen, and what is said of the model."""

import numpy as np
import pandas as pd
import pytest

import featurestore
from core.text import number
from tests.models import FOLDED, of_store
from zoo.model import Card, Model
from zoo.predict import predict_structures
from zoo.show import DOMAIN, SHOWN, Shown, about
from zoo.stored import stored_model


@pytest.fixture
def model(folded, stand_in) -> Model:
    return stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)


def with_card(model: Model, **changes) -> Model:
    facts = {name: getattr(model.card, name) for name in Card.__slots__}
    return Model(**{**vars(model), "card": Card(**(facts | changes))})


def shown(model, frame, capsys, asked=0.9) -> tuple[str, str, int]:
    """Return what is printed, what is complained of, and how many were rejected."""
    screen = Shown(model, asked)
    screen.add(frame)
    screen.print(None)
    said = capsys.readouterr()
    return said.out, said.err, screen.rejects


def test_a_row_has_value_interval_domain_and_neighbour(model, capsys):
    place = int(model.calibration.rows[0].entry_id.rpartition("-")[2])
    frame = predict_structures(model, of_store(place), ["mine"])
    out, err, rejects = shown(model, frame, capsys)
    (line,) = [line for line in out.splitlines() if "mine" in line]
    row = frame.iloc[0]
    assert f"{number(row['low'])} to {number(row['high'])}" in line
    assert f"{row['domain']} ({row['percentile']:.0f})" in line
    assert line.count(model.calibration.rows[0].entry_id) == 2  # it is its own neighbour, and in training
    assert (err, rejects) == ("", 0)


def test_rejects_are_counted_and_the_first_are_named(model, capsys):
    frame = predict_structures(model, of_store(1))
    bad = pd.concat([frame.assign(file=f"{i}.cif", error="min_dist: too close") for i in range(SHOWN + 3)])
    out, err, rejects = shown(model, bad, capsys)
    assert rejects == SHOWN + 3
    assert "0.cif: min_dist: too close" in err
    assert f"{SHOWN + 3} rejected, 3 more of them" in err
    assert "MAE" not in out


def test_a_reason_that_names_the_file_names_it_once(model, capsys):
    frame = predict_structures(model, of_store(1)).assign(file="a.cif", error="a.cif cannot be read")
    _, err, _ = shown(model, frame, capsys)
    assert err.splitlines()[0] == "a.cif cannot be read"


@pytest.mark.parametrize(
    ("level", "asked", "said"),
    [
        (0.9, 0.9, "90% interval"),
        (0.999, 0.999, "99.9% interval"),
        (0.9999, 0.9999, "99.99% interval"),
        (1 - 2 / 27, 0.99, "these hold 92.6%"),
        (0.0, 0.9, "there are none"),
    ],
)
def test_levels_are_said_as_they_are(model, capsys, level, asked, said):
    frame = predict_structures(model, of_store(1)).assign(level=level)
    out, _, _ = shown(model, frame, capsys, asked)
    assert said in out
    assert "100%" not in out
    assert ("too few" in out) == (level < asked)


def test_classes_have_their_probability(model, capsys):
    classes = with_card(model, classes=("metal", "insulator"), unit="class", balanced_accuracy=0.75)
    frame = predict_structures(model, of_store(1)).drop(columns=["low", "high", "expected_error", "level"])
    out, _, _ = shown(classes, frame.assign(value="metal", probability=0.625), capsys)
    assert "metal" in out
    assert "0.625" in out
    assert "interval" not in out.replace(DOMAIN, "")
    assert "too few" not in out
    assert "balanced accuracy on the test parts of 2 repetitions 0.75" in out


def test_what_a_model_is_stands_in_sentences(model):
    card = model.card
    told = about(
        with_card(model, label="demo", repetitions=1, test_mae=1.25, base_test_mae=5.0, caution="mind")
    )
    assert told[0] == (
        f"ridge (demo) on {card.reads}, {card.rows} training rows, model {card.sha256[:12]}; "
        "MAE on its test part 1.25 eV; Base 5"
    )
    assert told[1:] == [DOMAIN, "alpha: mind"]
    told = about(
        with_card(model, reads="", label="", test_mae=2.0, test_mae_sd=0.5, base_test_mae=None, caution="")
    )
    assert "from a network of its own" in told[0]
    assert told[0].endswith("over the test parts of 2 repetitions MAE 2 ± 0.5 eV")
    assert len(told) == 2


def test_no_number_is_shown_where_nothing_was_seen(model, capsys):
    frame = predict_structures(model, of_store(1)).assign(error_seen=np.nan, rows_seen=0)
    out, _, _ = shown(model, frame, capsys)
    assert "nan" not in out
