"""Predict with whatever XGBoost this Python has: ``predict.py MODEL ROWS ANSWERS``.

Loads the model by its path, as a serving container does, and writes predictions and margins of the rows
(float32, missing values NaN) as a NumPy archive. Runs outside the project's own environment.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import xgboost as xgb


def main(model: str, rows: str, answers: str) -> None:
    """Load, predict, write; prints XGBoost's version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the missing extension, from which it would guess the format
        booster = xgb.Booster(model_file=model)
    matrix = xgb.DMatrix(np.load(rows))
    np.savez(
        answers,
        predictions=booster.predict(matrix, validate_features=False),
        margins=booster.predict(matrix, output_margin=True, validate_features=False),
    )
    print(xgb.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
