"""How long do all experiments take on the embedded default, and did the networks of `transfer` learn?

    make repro && python bench/experiments.py [STORE]

Copies the pipeline's store without earlier experiments into an empty folder and runs `strata experiment all`
there with the settings of params.yaml, as one command. Writes bench/results/experiments.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
LIMIT = 20  # minutes


def main(store: Path) -> None:
    """Run everything and write the tables."""
    folder = Path(tempfile.mkdtemp(prefix="strata-bench-"))
    try:
        shutil.copytree(
            store, folder / "store", symlinks=True, ignore=shutil.ignore_patterns("experiments", ".training")
        )
        shutil.copy(ROOT / "params.yaml", folder)
        seconds = run(folder)
        training = pd.read_csv(folder / "results" / "transfer" / "training.csv")
    finally:
        shutil.rmtree(folder)
    write(seconds, training)


def run(folder: Path) -> dict[str, float]:
    """Return the seconds of each experiment; imports count for the first."""
    command = [sys.executable, "-m", "strata", "experiment", "all"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    seconds: dict[str, float] = {}
    last = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("results/"):
                now = time.perf_counter()
                seconds[line.removeprefix("results/").partition(":")[0]] = now - last
                last = now
    if process.returncode:
        raise SystemExit(f"strata experiment all ended with {process.returncode}")
    return seconds


def write(seconds: dict[str, float], training: pd.DataFrame) -> None:
    """bench/results/experiments.md."""
    total = sum(seconds.values())
    cores = len(os.sched_getaffinity(0))
    learned = (training["last_epoch_mae"] < training["base_train_mae"]).sum()
    lines = [
        "# All experiments on the embedded default",
        "",
        "`python bench/experiments.py`: `strata experiment all` with the settings of `params.yaml`, once, on",
        f"{cores} cores with no other work. The pipeline's store was there, nothing of any experiment was.",
        "",
        "| experiment | seconds |",
        "| --- | ---: |",
        *(f"| {name} | {value:.0f} |" for name, value in seconds.items()),
        f"| **all** | **{total:.0f}** ({total / 60:.1f} min; the bar is {LIMIT}) |",
        "",
        f"Networks of `transfer`, {training['epochs'].min()} epochs each: training MAE of the last epoch",
        f"below Base's for {learned} of {len(training)}. Means over {training['seed'].nunique()} seeds:",
        "",
        "| target | split | method | epochs | training MAE, last epoch | Base's | unit |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    by = ["dataset", "property", "scheme", "method", "unit"]
    for (dataset, prop, scheme, method, unit), own in training.groupby(by):
        mean = own[["epochs", "last_epoch_mae", "base_train_mae"]].mean()
        epochs, last, base = (mean[name] for name in mean.index)
        lines.append(
            f"| `{dataset}` {prop} | {scheme} | {method} | {epochs:.0f} | {last:.4g} | {base:.4g} | {unit} |"
        )
    path = ROOT / "bench" / "results" / "experiments.md"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "store")
