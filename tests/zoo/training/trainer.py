"""Trains on the small examples in a process of its own, to be killed.

Arguments: folder; settings that change, as JSON; optionally a signal's number, raised inside the fourth step.
"""

import json
import signal
import sys
from pathlib import Path

import torch

import zoo.training.loop
from strata import _terminate
from tests.training import QUICK, examples, network

_SIGNALLED_STEP = 4


def main(folder: Path, changes: dict, number: int | None) -> None:
    """Train, as `strata` does: SIGTERM ends by SystemExit."""
    signal.signal(signal.SIGTERM, _terminate)
    torch.set_num_threads(1)
    steps, update = 0, zoo.training.loop._update

    def counted(*args):
        nonlocal steps
        steps += 1
        if steps == _SIGNALLED_STEP and number is not None:
            signal.raise_signal(number)
        update(*args)

    zoo.training.loop._update = counted
    zoo.training.loop.train(
        network(), examples(folder), QUICK.model_copy(update=changes), folder / "run", "key"
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
    except KeyboardInterrupt:
        sys.exit(130)
