"""The autoencoder (the notes, S6.9; Hinton & Salakhutdinov 2006; Vincent et al. 2010)."""

from ..layers import Dense, Layer, Sequential, TiedDense


def autoencoder(sizes=(784, 256, 64), activation="sigmoid", tied=False, output_activation=None, noise=None,
                seed=None, dtype="float32"):  # fmt: skip
    """A network that is to give its input back through a narrow middle, the code.

    Trained on `fit(x, x)` with `SquaredError()`, the notes' `(1/n) sum_i sum_j (xhat_ij - x_ij)^2`. The model
    has two parts: `model["encoder"].predict(x)` are the codes, `model["decoder"].predict(codes)` what becomes
    of them.

    With `activation=None` it is linear, and the best it can do is what PCA with as many components does: the
    loss is the sum of the other eigenvalues of the covariance, `sum_{i > k} sigma_i^2 / n`, and the code
    spans the subspace of the first k components. That holds for centred data (the biases learn to centre
    them), and only for the subspace: the code's axes are not the principal ones [1]. With another activation
    the objective is the same, the solution is not PCA.

    Parameters
    ----------
    sizes : tuple of int
        The input, the hidden layers, the code; the decoder goes back the same way.
    activation : str or Layer, optional
        Of all layers but the last.
    tied : bool
        Whether the decoder's weights are the encoder's, transposed (`TiedDense`): half the weights, of which
        each gets the gradient of both uses.
    output_activation : str or Layer, optional
        Of the last layer: None for numbers of any size, "sigmoid" for numbers in [0, 1].
    noise : Layer, optional
        At the input while training, `MaskingNoise` or `GaussianNoise`: a denoising autoencoder [2], if the
        targets are the inputs without noise, `fit(x, x)`.

    References
    ----------
    .. [1] Baldi & Hornik, Neural networks and principal component analysis: learning from examples without
       local minima, Neural Networks 2, 1989; Bourlard & Kamp, Biological Cybernetics 59, 1988.
    .. [2] Vincent et al., Stacked denoising autoencoders, JMLR 11, 2010.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.models.autoencoder((784, 256, 64), seed=0)
    >>> model["encoder"].output_shape, model.output_shape, model.n_parameters
    ((64,), (784,), 435536)
    >>> nn.models.autoencoder((784, 256, 64), tied=True).n_parameters
    218448
    """
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(
            f"autoencoder: sizes: expected the input's and the code's at least. Received: {sizes}"
        )
    encoder = [Dense(n, activation=activation) for n in sizes[1:]]
    decoder: list[Layer] = []
    for source, n in zip(reversed(encoder), reversed(sizes[:-1])):
        function = activation if len(decoder) < len(encoder) - 1 else output_activation
        decoder.append(TiedDense(source, function) if tied else Dense(n, function))
    parts = [
        Sequential(encoder, name="encoder", dtype=dtype),
        Sequential(decoder, name="decoder", dtype=dtype),
    ]
    noises = [] if noise is None else [noise]
    return Sequential([*noises, *parts], input_shape=sizes[:1], seed=seed, dtype=dtype)
