"""The model: a regression over the last prices, trained at the start on the market that it then predicts."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any, Final

import numpy as np
from sklearn.neural_network import MLPRegressor

WINDOW: Final = 4


class Switch:
    """How the model behaves: well, or by raising, or by hanging until it is let go."""

    def __init__(self) -> None:
        self.raises = False
        self._free = threading.Event()
        self._free.set()

    def hang(self) -> None:
        """Let every prediction from now on wait."""
        self._free.clear()

    def mend(self) -> None:
        """Let it work, and those go on that wait."""
        self.raises = False
        self._free.set()

    def pass_or_fail(self) -> None:
        """Return when a prediction may be made.

        Raises:
            RuntimeError: The model raises.
        """
        if self.raises:
            raise RuntimeError("the weights are gone")
        self._free.wait()

    def __deepcopy__(self, memo: object) -> Switch:
        # A training works on a copy of the model: it is the same switch that breaks both.
        return self


class PricePredictor:
    """scikit-learn's regression over the last moves, in parts of a thousand, with a switch that breaks it."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._regression = MLPRegressor(hidden_layer_sizes=(8,), random_state=7)

    def partial_fit(self, rows: Any, labels: Any) -> None:
        """Learn a little."""
        for _ in range(20):
            self._regression.partial_fit(np.asarray(rows), np.asarray(labels))

    @property
    def loss_(self) -> float:
        """What is left of the error."""
        return float(self._regression.loss_)

    def predict(self, rows: Any) -> Any:
        """Return the next move for each row of moves."""
        self._switch.pass_or_fail()
        return self._regression.predict(rows)


def moves(prices: list[float]) -> list[float]:
    """Return how much the price moved each time, in parts of a thousand."""
    return [1000.0 * (after / before - 1.0) for before, after in pairwise(prices)]


def lessons(prices: list[float]) -> tuple[list[list[float]], list[float]]:
    """Return what to learn from a history of prices: the last moves, and the one that came next."""
    steps = moves(prices)
    starts = range(len(steps) - WINDOW)
    return [steps[start : start + WINDOW] for start in starts], [steps[start + WINDOW] for start in starts]
