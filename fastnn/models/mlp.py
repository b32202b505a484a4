"""The multi-layer perceptron (the notes, S2; Rumelhart, Hinton & Williams 1986)."""

from ..layers import Dense, Dropout, Flatten, Layer, Sequential


def mlp(input_shape=(28, 28, 1), units=(512, 256), num_classes=10, activation="relu", dropout=0.0, seed=None,
        dtype="float32"):  # fmt: skip
    """Dense layers in a row, ending in logits.

    Parameters
    ----------
    input_shape : tuple of int
        Of one sample; images are flattened.
    units : tuple of int
        Sizes of the hidden layers.
    dropout : float
        Rate after each hidden layer.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.models.mlp(units=(512, 256)).n_parameters
    535818
    """
    layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
    for n in units:
        layers.append(Dense(n, activation=activation))
        if dropout:
            layers.append(Dropout(dropout))
    return Sequential([*layers, Dense(num_classes)], input_shape=input_shape, seed=seed, dtype=dtype)
