"""What a fit prints."""

from featurestore import SplitKey
from heads.summary import FitReport, Lacking, Run, Skipped

FIRST = SplitKey()


def run(head="ridge", *, prop="gap", val_mae=0.5, split=FIRST, feature_set="atom_8", is_new=True):
    return Run(
        run_id=f"{head}{prop}{val_mae}{split}{feature_set}",
        property=prop,
        unit="eV",
        head=head,
        label="demo" if head == "nn17" else "",
        feature_set=feature_set,
        split=split,
        n_train=80,
        n_val=10,
        n_test=9,
        train_mae=0.25,
        val_mae=val_mae,
        fit_seconds=1.5,
        is_new=is_new,
    )


def test_the_table_names_what_was_fitted(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    skipped = Skipped("gap", "nn17", "atom_8", SplitKey(), "Ridge: every one of the 9 training targets is 0")
    FitReport("alpha", (run("mean", feature_set=None), run("nn17", is_new=False)), (skipped,)).show()
    printed = capsys.readouterr().out
    assert "alpha: 2 runs, 1 of them fitted now in 1.5 s; vectors: atom_8" in printed
    for text in ("gap, eV", "nn17 (demo)", "80/10/9", "0.25", "0.5", "1.50", "not applicable to gap"):
        assert text in printed
    assert "split" not in printed


def test_splits_and_feature_sets_are_told_apart_where_there_are_several(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    runs = (run(), run(split=SplitKey("kfold", 0, 3)), run(feature_set="bond_2"))
    FitReport("alpha", runs).show()
    printed = capsys.readouterr().out
    for text in ("feature set", "bond_2", "random 0", "kfold 0 3"):
        assert text in printed


def test_repetitions_stand_on_one_line_with_their_spread(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    folds = [run(split=SplitKey("kfold", 0, i), val_mae=0.5 + i / 10) for i in range(3)]
    FitReport("alpha", (*folds, run("svr"))).show()
    printed = capsys.readouterr().out
    assert sum("ridge" in line for line in printed.splitlines()) == 1
    for text in ("alpha: 4 runs", "kfold × 3", "0.6 ± 0.1", "0.25 ± 0"):
        assert text in printed


def test_rows_without_vectors_are_told_with_their_source_model(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    FitReport("alpha", (run(),), lacking=(Lacking("gap", "node_2", "chgnet", 1200),)).show()
    assert "gap, node_2: 1,200 rows have no vector by chgnet and were left out" in capsys.readouterr().out


def test_more_than_a_screen_is_shortened_to_the_best():
    runs = [run(f"head_{i}", prop=f"p{i % 3}", val_mae=float(i)) for i in range(60)]
    shown = [line.first for line in FitReport("alpha", tuple(reversed(runs))).lines()]
    assert sorted((each.property, each.val_mae) for each in shown) == [("p0", 0.0), ("p1", 1.0), ("p2", 2.0)]


def test_a_run_comes_back_from_its_columns():
    first = run()
    again = Run.from_row([first.columns()[name] for name in Run.stored()])
    assert again == run(is_new=False)
