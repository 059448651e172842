"""NN-17: the paper's network, its optimiser, early stopping, seeds and files."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from core.checksums import write_checksums
from core.errors import StrataError
from heads import NN17, check_head
from heads.nn17 import Trainer, network, tensorflow
from tests.conftest import ROOT

SMALL = {"layers": [16], "learning_rate": 0.02, "max_epochs": 40, "standardise": True}


ROUNDING = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "asks for 1e-7, as predictions are float64; the network is float32, and the test below has its bound",
)


NO_WEIGHTS = dict.fromkeys(
    (
        "check_sample_weights_pandas_series",
        "check_sample_weights_not_an_array",
        "check_sample_weights_list",
        "check_all_zero_sample_weights_error",
        "check_sample_weights_shape",
        "check_sample_weights_not_overwritten",
        "check_sample_weight_equivalence_on_dense_data",
    ),
    "the paper's network takes no weights of rows, and says so",
)


@pytest.mark.slow
@parametrize_with_checks([NN17(**SMALL)], expected_failed_checks=lambda _: ROUNDING | NO_WEIGHTS)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_a_rows_prediction_depends_on_that_row_alone():
    X, y = data()
    head = NN17(**SMALL).fit(X, y)
    whole = head.predict(X)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_allclose(head.predict(X[order]), whole[order], rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([head.predict(row[None]) for row in X]), whole, rtol=1e-5)


@pytest.mark.parametrize("standardise", [False, True])
def test_contract(standardise):
    check_head(NN17(layers=[16, 8], max_epochs=5, standardise=standardise))


def data(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    return X, 300 + 50 * X[:, 0]


def test_the_network_is_the_papers():
    _, keras = tensorflow()
    layers = network(keras, 768, NN17().layers).layers
    assert [layer.units for layer in layers] == [
        *[1024] * 4,
        *[512] * 3,
        *[256] * 3,
        *[128] * 3,
        *[64] * 2,
        32,
        1,
    ]
    assert len(layers) == 17
    assert [layer.activation.__name__ for layer in layers] == ["relu"] * 16 + ["linear"]


def test_the_training_is_the_papers():
    settings = NN17().get_params()
    assert (settings["learning_rate"], settings["batch_size"], settings["patience"]) == (1e-4, 64, 200)
    assert not settings["standardise"]


def test_steps_are_those_of_keras_adam():
    tf, keras = tensorflow()
    X, y = data()
    y = y.astype(np.float32)[:, None]
    keras.utils.set_random_seed(3)
    ours = network(keras, 6, [8, 4])
    theirs = keras.models.clone_model(ours)
    theirs.set_weights(ours.get_weights())
    theirs.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mae")
    trainer = Trainer(tf, ours, 1e-2)
    for _ in range(5):
        loss = float(trainer.step(tf.constant(X), tf.constant(y)))
        assert loss == pytest.approx(theirs.train_on_batch(X, y), rel=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_the_best_epochs_weights_are_restored():
    X, y = data()
    head = NN17(layers=[8], learning_rate=0.3, max_epochs=300, patience=10, standardise=True)
    head.fit(X[:30], y[:30], X[30:], y[30:])
    assert head.n_epochs_ == head.best_epoch_ + 10 < 300
    assert np.abs(head.predict(X[30:]) - y[30:]).mean() == pytest.approx(head.loss_, rel=1e-4)


def test_a_cap_on_epochs_ends_the_training():
    head = NN17(layers=[4], max_epochs=3).fit(*data())
    assert head.n_epochs_ == 3


def test_another_seed_is_another_network():
    X, y = data()
    first, second = (NN17(layers=[8], max_epochs=2, seed=seed).fit(X, y).predict(X) for seed in (0, 1))
    assert not np.allclose(first, second)


def test_a_fit_does_not_depend_on_those_before_it():
    X, y = data()
    first = NN17(**SMALL).fit(X, y)
    predicted = first.predict(X)
    NN17(**SMALL | {"seed": 1}).fit(X[:20], y[:20])
    assert np.array_equal(first.predict(X), predicted)
    assert np.array_equal(NN17(**SMALL).fit(X, y).predict(X), predicted)


def test_standardising_reaches_large_targets_in_few_steps():
    X, y = data(200)
    maes = {
        flag: np.abs(
            NN17(layers=[32], learning_rate=0.01, max_epochs=40, standardise=flag).fit(X, y).predict(X) - y
        ).mean()
        for flag in (False, True)
    }
    assert maes[True] < 0.1 * maes[False]


def test_a_loss_that_is_no_number_ends_with_advice():
    X, y = data()
    with pytest.raises(StrataError, match="try a smaller learning_rate"):
        NN17(layers=[8, 8, 8], learning_rate=1e18, max_epochs=20).fit(X, y)


def replaced(folder, text):
    """Put another description of the layers into a saved network, whose hashes then hold."""
    with zipfile.ZipFile(folder / "model.keras") as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(folder / "model.keras", "w") as new:
        for name, content in members.items():
            new.writestr(name, text if name == "config.json" else content)
    write_checksums(folder)


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "os", "class_name": "system", "config": "touch {0}", "registered_name": None},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "{0}"}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "{0}"}},
    ],
)
def test_what_a_saved_network_says_of_its_layers_is_not_read(tmp_path, layer):
    X, y = data()
    head = NN17(layers=[4], max_epochs=1).fit(X, y)
    head.save(tmp_path / "head")
    ran = tmp_path / "ran"
    replaced(tmp_path / "head", json.dumps(layer).replace("{0}", str(ran)))
    assert np.array_equal(NN17.load(tmp_path / "head").predict(X), head.predict(X))
    assert not ran.exists()


@pytest.mark.parametrize("damage", ["half", "empty", "other shape"])
def test_a_damaged_network_is_a_users_error(tmp_path, damage):
    NN17(layers=[4], max_epochs=1).fit(*data()).save(tmp_path)
    path = tmp_path / "model.keras"
    if damage == "other shape":
        NN17(layers=[5, 5], max_epochs=1).fit(*data()).save(tmp_path / "other")
        path.write_bytes((tmp_path / "other" / "model.keras").read_bytes())
        shutil.rmtree(tmp_path / "other")
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "half" else 0])
    write_checksums(tmp_path)
    with pytest.raises(StrataError, match="fit the head again"):
        NN17.load(tmp_path)


def test_a_folder_without_network_says_so(tmp_path):
    NN17(layers=[4], max_epochs=1).fit(*data()).save(tmp_path)
    (tmp_path / "model.keras").unlink()
    write_checksums(tmp_path)
    with pytest.raises(StrataError, match=r"model\.keras is missing"):
        NN17.load(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_the_weights_do_not_depend_on_the_cores_that_the_process_may_use():
    code = (
        "import os, sys; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])\n"
        "import numpy as np; from heads.nn17 import NN17\n"
        "X = np.random.default_rng(0).normal(size=(200, 300)); y = X[:, :9].sum(axis=1)\n"
        "print(NN17(max_epochs=3, standardise=True).fit(X, y).predict(X).tobytes().hex())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code, cores], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
            capture_output=True, text=True,
        ).stdout
        for cores in ("1", "2")
    ]  # fmt: skip
    assert found[0] == found[1]
