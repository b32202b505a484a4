"""scikit-learn's MLPClassifier: fully connected networks only."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import networks as net
import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier


def version(variant: str) -> str:
    return f"scikit-learn {sklearn.__version__}"


def classifier(network: net.Network, weights: net.Weights) -> MLPClassifier:
    """A classifier that has seen one batch, with `weights` put into it (and Adam's state cleared)."""
    if not network.is_mlp:
        raise NotImplementedError("scikit-learn has fully connected layers only")
    if network.loss != "cross-entropy" or len({layer.activation for layer in network.layers[:-1]}) > 1:
        raise NotImplementedError("scikit-learn's classifier has cross-entropy and one activation only")
    if network.batch < network.outputs:
        warnings.filterwarnings("ignore")
    model = MLPClassifier(
        tuple(layer.units for layer in network.layers[:-1]), activation=network.layers[0].activation,
        solver="adam", alpha=0.0, batch_size=network.batch, learning_rate_init=network.lr, shuffle=False,
    )  # fmt: skip
    x, y = net.fixed_batch(network)
    model.partial_fit(x, y, classes=np.arange(network.outputs))
    for i in range(len(network.layers)):
        model.coefs_[i][...] = weights[f"{i}.weight"].T
        model.intercepts_[i][...] = weights[f"{i}.bias"]
    optimizer = model._optimizer
    optimizer.t = 0
    for array in (*optimizer.ms, *optimizer.vs):
        array[...] = 0
    return model


def train(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray, y: np.ndarray,
          threads: int) -> dict[str, Callable[[], Callable[[], float]]]:  # fmt: skip
    def make() -> Callable[[], float]:
        model = classifier(network, weights)
        return lambda: model.partial_fit(x, y).loss_

    return {"partial_fit": make}


def infer(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray,
          threads: int) -> dict[str, Callable[[], Callable[[], np.ndarray]]]:  # fmt: skip
    def make() -> Callable[[], np.ndarray]:
        model = classifier(network, weights)
        return lambda: model.predict_proba(x)

    return {"predict_proba": make}


def to_numpy(result: np.ndarray) -> np.ndarray:
    return np.asarray(result)
