r"""A training script: every host runs it, each on its own rows, and all of them train one model.

Start it as an estimator's ``entry_point``, or on this machine:

    treering local --hosts 2 --output out/script \
        --hp sagemaker_program=train.py --hp sagemaker_submit_directory=examples/script-mode \
        --channel training=examples/abalone/train --channel validation=examples/abalone/validation \
        --content-type text/libsvm --hp max_depth=5 --hp eta=0.2
"""

from __future__ import annotations

import argparse
import os

import numpy as np

import treering

CLOSE = 1.5  # rings


def main() -> None:
    """Read the rows, train, score with a metric of our own, save."""
    options = arguments()
    rows = treering.load("train")
    evals = {"validation": treering.load("validation")} if "SM_CHANNEL_VALIDATION" in os.environ else {}

    # The hyperparameters of the built-in job, and its metrics, one line a round.
    parameters = {
        "objective": "reg:squarederror",
        "eval_metric": "rmse,mae",
        "max_depth": options.max_depth,
        "eta": options.eta,
    }
    model = treering.train(parameters, rows, options.num_round, evals)

    # A metric of one's own: each rank looks at its rows, and the counts of all are added up.
    for name, held_out in evals.items():
        error = np.abs(model.predict(held_out) - held_out.get_label())
        close, count = treering.allreduce(np.array([np.sum(error < CLOSE), error.size]))
        if treering.world().rank == 0:
            print(f"{name}: {close / count:.1%} of {count} abalones are off by less than {CLOSE} rings")

    treering.save(model)


def arguments() -> argparse.Namespace:
    """The job's hyperparameters come as arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_round", type=int, default=50)
    parser.add_argument("--max_depth", type=int, default=6)
    parser.add_argument("--eta", type=float, default=0.3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
