"""Greedy layer-wise pre-training with autoencoders (the notes, S6.9)."""

import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..layers import Dense, Sequential, TiedDense, from_config, to_config
from ..layers.base import Layer, checked_seed
from ..losses import SquaredError
from ..optimizers import Adam
from .history import History
from .trainer import Trainer

BATCH = 512  # samples that go through the finished layers at a time


@dataclass(frozen=True, eq=False)
class PretrainedLayer:
    """What `pretrain_layerwise` did for one layer.

    Attributes
    ----------
    name : str
        The Dense layer's path in the model.
    autoencoder : Sequential
        In which it was trained: `autoencoder["encoder"].predict(h)` is what the layer makes of its input,
        `autoencoder["decoder"].predict(...)` the way back.
    history : History
    """

    name: str
    autoencoder: Sequential
    history: History


def pretrain_layerwise(
    model, x, epochs=10, optimizer=None, tied=False, noise=None, output_activation=None, layers=None,
    seed=None, **fit,
):  # fmt: skip
    """Give a network of Dense layers its first weights by training each as an autoencoder (S6.9).

    Layer 1 learns to give its input back through a decoder that is thrown away afterwards, input -> h1 ->
    input, with the notes' loss `(1/n) sum_i sum_j (xhat_ij - x_ij)^2`. Then its weights stay, h1 of all
    samples is the input of layer 2, and so on: while layer l is trained, the layers before it do not
    change. No labels are needed. Afterwards `model` is trained as usual, from this start instead of a random
    one [1, 2].

    The notes say that this is PCA. It has PCA's objective, but PCA's solution only where the units are
    linear, see `models.autoencoder`; with an activation function it is another one.

    A Dense layer is trained together with all that follows it up to the next: its activation, BatchNorm and
    Dropout work as they do in training, and the statistics stay too. Layers before the first Dense work as in
    prediction and do not change; nor do frozen layers. The last Dense is the output and is left out. In a
    model of `models.autoencoder` the decoder's layers are trained too, each with its counterpart [3].

    Parameters
    ----------
    model : Sequential
        Built; Sequentials inside it may hold the layers. Its present weights are where the training of each
        layer starts.
    x : ndarray (N, *input_shape)
    epochs : int
        For each layer.
    optimizer : Optimizer, optional
        Each layer gets a copy; by default `Adam(lr=1e-3)`.
    tied : bool
        Whether the decoder's weight is the encoder's, transposed.
    noise : Layer, optional
        At the input of each layer, `MaskingNoise` or `GaussianNoise`: it learns to undo the noise [4].
    output_activation : str or Layer, optional
        Of the decoders; with those of an autoencoder's own, this and `tied` are as they are there.
    layers : sequence of str, optional
        Paths of the Dense layers that are trained, `["dense1"]`; by default all but the last.
    seed : int, optional
        Of the decoders' first weights, the order of the data and the noise; by default the model's.
    **fit
        Options of `Trainer.fit`: `batch_size`, `validation_split`, `callbacks`, `verbose`, ...

    Returns
    -------
    list of PretrainedLayer
        In the order of the layers; `model` itself has been changed.

    Raises
    ------
    ValueError, TypeError
        The model has no layers to train, or an argument does not fit; nothing was changed.
    KeyboardInterrupt
        Ctrl-C; the layers that were finished keep what they learned, the others are as they were.

    References
    ----------
    .. [1] Bengio, Lamblin, Popovici & Larochelle, Greedy layer-wise training of deep networks, NeurIPS 2006.
    .. [2] Erhan et al., Why does unsupervised pre-training help deep learning?, JMLR 11, 2010.
    .. [3] Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 313,
       2006.
    .. [4] Vincent et al., Stacked denoising autoencoders, JMLR 11, 2010.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.models.mlp((8,), units=(6, 4), num_classes=3, activation="sigmoid", seed=0)
    >>> x = np.random.default_rng(0).random((100, 8), dtype=np.float32)
    >>> stages = pretrain_layerwise(model, x, epochs=5, verbose=False)
    >>> [(stage.name, stage.autoencoder["encoder"].output_shape) for stage in stages]
    [('dense1', (6,)), ('dense2', (4,))]
    """
    if not isinstance(model, Sequential) or not model.is_root or model.input_shape is None:
        raise TypeError(
            f"pretrain_layerwise: model: expected a built Sequential. Received: {model!r}; give it "
            "input_shape=(...)"
        )
    model.check_input(x)
    if not len(x):
        raise ValueError("pretrain_layerwise: x: expected at least one sample. Received: none")
    if noise is not None and not isinstance(noise, Layer):
        raise TypeError(f"pretrain_layerwise: noise: expected a layer or None. Received: {noise!r}")
    chain = _chain(model)
    starts = [i for i, layer in enumerate(chain) if isinstance(layer, (Dense, TiedDense))]
    counterparts = _counterparts(model)
    wanted = _wanted(model, layers, [chain[i] for i in starts[:-1]], counterparts)
    optimizer = Adam(lr=1e-3) if optimizer is None else optimizer
    seeds = np.random.SeedSequence(checked_seed(model.seed if seed is None else seed)).spawn(len(wanted))
    options = {"epochs": epochs} | fit
    trained: list[PretrainedLayer] = []
    h = _outputs(model, chain[: starts[0]], x)
    for start, stop in pairwise(starts):
        block = chain[start:stop]
        path = wanted.get(block[0])
        if path is not None:
            stage, pairs = _stage(model, block, h, tied, output_activation, counterparts.get(block[0]), noise,
                                  int(seeds[len(trained)].generate_state(1)[0]))  # fmt: skip
            trainer = Trainer(stage, SquaredError(), copy.deepcopy(optimizer))
            history = trainer.fit(h, h, **options)
            if trainer.interrupted:  # fit ends well after Ctrl-C, and the other layers must not begin
                raise KeyboardInterrupt(f"pretrain_layerwise: {path}")
            for layer, twin in pairs:
                _take_over(layer, twin)
            trained.append(PretrainedLayer(path, stage, history))
        if len(trained) == len(wanted):
            return trained
        h = _outputs(model, block, h)
    return trained


def _chain(layer):
    """The layers in a row, those inside Sequentials too."""
    if isinstance(layer, Sequential):
        return [inner for child in layer.layers for inner in _chain(child)]
    return [layer]


def _counterparts(model):
    """The decoder's layer for each of the encoder's, if the model is one of `models.autoencoder`."""
    parts = model.layers[-2:]
    if [part.name for part in parts] != ["encoder", "decoder"]:
        return {}
    encoder, decoder = (
        [layer for layer in _chain(part) if isinstance(layer, (Dense, TiedDense))] for part in parts
    )
    return dict(zip(encoder, reversed(decoder))) if len(encoder) == len(decoder) else {}


def _wanted(model, names, candidates, counterparts):
    """`{layer: path}` of the Dense layers that are to be trained."""
    paths = {layer: path for path, layer in model.walk()}
    possible = {
        layer: paths[layer]
        for layer in candidates
        if isinstance(layer, Dense) and layer.trainable and (not counterparts or layer in counterparts)
    }
    if not possible:
        raise ValueError(
            "pretrain_layerwise: model: expected Dense layers before the last one, not all of them frozen. "
            f"Received: {model!r}"
        )
    if names is None:
        return possible
    unknown = [name for name in names if name not in possible.values()]
    if unknown or not names or isinstance(names, str):
        raise ValueError(
            f"pretrain_layerwise: layers: expected a list of some of {', '.join(possible.values())}. "
            f"Received: {names!r}"
        )
    return {layer: path for layer, path in possible.items() if path in names}


def _outputs(model, layers, x):
    """What some of the model's layers in a row make of all samples, as `predict` computes it."""
    if not layers:
        return x
    results = np.empty((len(x), *layers[-1].output_shape), x.dtype)
    workspace = model.workspace
    keep, workspace.keep = workspace.keep, False
    try:
        for start in range(0, len(x), BATCH):
            h = np.ascontiguousarray(x[start : start + BATCH])
            for layer in layers:
                h = layer.forward(h)
                layer.saved = None
            results[start : start + BATCH] = h
    finally:
        workspace.keep = keep
    return results


def _stage(model, block, h, tied, function, counterpart, noise, seed):
    """The autoencoder in which a layer is trained, and pairs of the model's layers and its own."""
    encoder = [_copy(layer) for layer in block]
    if counterpart is not None:
        tied, function = isinstance(counterpart, TiedDense), counterpart.activation
    decoder = TiedDense(encoder[0], function) if tied else Dense(h.shape[1], function)
    dtype = str(model.model_dtype)
    parts = [
        Sequential(encoder, name="encoder", dtype=dtype),
        Sequential([decoder], name="decoder", dtype=dtype),
    ]
    noises = [] if noise is None else [_copy(noise)]
    stage = Sequential([*noises, *parts], input_shape=h.shape[1:], seed=seed, dtype=dtype)
    pairs = list(zip(block, encoder))
    if counterpart is not None:
        pairs.append((counterpart, decoder))
    for layer, twin in pairs:
        _take_over(twin, layer)
    return stage, pairs


def _copy(layer):
    """A new layer of the same configuration, without the name, which may occur twice in a chain."""
    config = to_config(layer)
    config["config"].pop("name", None)
    return from_config(config)


def _take_over(layer, other):
    """Give a layer the parameters and buffers of another of the same kind."""
    for (_, to), (_, source) in zip(layer.walk(), other.walk()):
        for name, parameter in source.own_parameters.items():
            to.own_parameters[name].data[...] = parameter.data
        for name, array in source.own_buffers.items():
            to.own_buffers[name][...] = array
