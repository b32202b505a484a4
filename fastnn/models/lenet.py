"""LeNet-5 (the notes, S8.5 to S8.7; LeCun, Bottou, Bengio & Haffner 1998)."""

from ..layers import AvgPool2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Sequential


def lenet5(input_shape=(28, 28, 1), num_classes=10, pool="max", activation="relu", dropout=0.0, seed=None,
           dtype="float32"):  # fmt: skip
    """Two convolutions with pooling, then 120, 84 and the classes.

    The paper's input is 32x32; smaller images are padded by the first layer so that the rest is the same
    and the parameters are 61,706 for ten classes: 61,470 weights and 236 biases.

    Parameters
    ----------
    input_shape : tuple of int
        `(28, 28, 1)` or `(32, 32, 1)`, any number of channels.
    pool : {"max", "avg"}
    dropout : float
        Rate before each of the dense layers 84 and the output.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.models.lenet5().n_parameters
    61706
    """
    if pool not in ("max", "avg"):
        raise ValueError(f"lenet5: pool: expected 'max' or 'avg'. Received: {pool!r}")
    pooling = MaxPool2D if pool == "max" else AvgPool2D
    regularise = [Dropout(dropout)] if dropout else []
    return Sequential(
        [
            Conv2D(6, 5, padding="same" if input_shape[0] < 32 else "valid", activation=activation),
            pooling(2),
            Conv2D(16, 5, activation=activation),
            pooling(2),
            Flatten(),
            Dense(120, activation=activation),
            *regularise,
            Dense(84, activation=activation),
            *(Dropout(dropout) for _ in regularise),
            Dense(num_classes),
        ],
        input_shape=input_shape,
        seed=seed,
        dtype=dtype,
    )
