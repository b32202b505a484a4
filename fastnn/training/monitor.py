"""`LayerMonitor`: what happens inside the layers while they train."""

import math
from typing import Any

import numpy as np

from .. import kernels
from ..checks import integer
from .callbacks import Callback

#: A unit is saturated where its slope is below this share of the largest slope ...
SATURATED_SLOPE = 0.01
#: ... for at least this share of what it has seen. It is dead where its slope is 0 for all of it.
IDLE_OF = {"dead": 1.0, "saturated": 0.95}

#: For each function whose units can be idle, the slope that counts as none: 0, or 1 % of the largest.
IDLE = {
    "dead": dict.fromkeys(("relu", "relu_right", "hard_swish"), 0.0),
    "saturated": {
        name: SATURATED_SLOPE * largest
        for name, largest in (("sigmoid", 1 / 4), ("tanh", 1), ("hard_sigmoid", 1 / 6), ("hard_tanh", 1))
    },
}


class LayerMonitor(Callback):
    """Keep for each layer and epoch how large its gradient is, how far it moves, and which units are idle.

    The numbers are in `history.layers`, a list with one per epoch: `history.layers["dead"]["dense1"]`.
    They are saved with the history, `history.diagnose()` reads them and `plots.layers(history)` draws them.

    ============== ==========================================================================================
    `grad_norm`    `||g||` of the layer's gradient, over weights and bias together, penalties included, before
                   any clipping: the mean over the epoch's updates
    `update_ratio` `||dw|| / ||w||`, how far an update moved the layer, against how large it is then: the
                   mean over the epoch's updates. About 1e-3 is usual [1]
    `dead`         share of the units of a ReLU whose derivative was 0 for every sample of the epoch. A unit
                   that is 0 for some of them is at work; only one that is 0 for all of them learns nothing
                   (the notes, S7.4)
    `saturated`    share of the units of a sigmoid or tanh whose derivative was below 1 % of its maximum for
                   at least 95 % of the samples (S7.2): `|a| > 5.99` for a sigmoid, `|a| > 2.99` for tanh
    ============== ==========================================================================================

    A convolution's unit is a filter, and counts at each position of each sample. The first two are there for
    layers with parameters that train, the last two for layers with such an activation (`relu`, `relu_right`,
    `hard_swish`; `sigmoid`, `tanh`, `hard_sigmoid`, `hard_tanh`), fused or not.

    There is no further pass through the network: the monitor looks at what the layers kept for their backward
    pass. Each update that it looks at costs a few passes over these activations and over the parameters, and
    the memory of a copy of the parameters: about a fifth of LeNet's step, and up to as much as the whole step
    of a narrow network with many layers. `every=10` costs a tenth of that. Training itself is the same, bit
    for bit.

    Parameters
    ----------
    every : int
        Look at every so many updates of an epoch, from its first on. Units are then dead or saturated as far
        as the samples of these updates tell.

    References
    ----------
    .. [1] Karpathy, CS231n: Neural networks part 3, "Ratio of weights:updates".

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(4, "relu"), nn.Dense(1)], input_shape=(2,), seed=0)
    >>> model["dense1"].bias.data[:] = -1e3, 0, 0, 0  # the first unit is dead
    >>> trainer = nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=0.01))
    >>> x = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
    >>> history = trainer.fit(x, x[:, :1], epochs=2, callbacks=[nn.LayerMonitor()], verbose=False)
    >>> history.layers["dead"]
    {'dense1': [0.25, 0.25]}
    """

    def __init__(self, every=1):
        self.every = integer("LayerMonitor", "every", every)
        self.reset()

    def reset(self):
        self._first = 0  # updates done when the epoch began
        self._updates = 0  # updates of the epoch that were looked at
        self._sums: Any = None  # of the epoch's norms and ratios, (2, layers)
        self._flat: list[Any] = []  # for each watched layer, how often each unit's slope was as good as 0
        self._seen: list[int] = []  # of how many
        self._moving: list[tuple[str, list, list]] = []  # path, parameters, their values before the update
        self._watched: list[tuple[str, Any, str]] = []  # path, layer, quantity
        self._outputs: list[Any] = []  # of these, from forward until backward

    def on_fit_begin(self, trainer):
        self._moving, self._watched = [], []
        for path, layer in trainer.model.walk():
            parameters = [p for p in layer.own_parameters.values() if p.trainable]
            if parameters:
                self._moving.append((path, parameters, [np.empty_like(p.data) for p in parameters]))
            function = getattr(layer, "function", None)
            for quantity, limits in IDLE.items():
                if isinstance(function, str) and function in limits:
                    self._look_at(layer, len(self._watched), limits[function])
                    self._watched.append((path, layer, quantity))
        if self._sums is None:  # not resumed inside an epoch
            self._clear()

    def on_fit_end(self, trainer):
        for _, layer, _ in self._watched:
            vars(layer).pop("forward", None)
            vars(layer).pop("backward", None)
        self._moving, self._watched, self._outputs = [], [], []

    def _clear(self):
        self._updates, self._sums = 0, np.zeros((2, len(self._moving)))
        self._flat, self._seen = [0] * len(self._watched), [0] * len(self._watched)

    def on_epoch_begin(self, trainer):
        if trainer.batch == 0:  # not resumed inside it
            self._first = trainer.optimizer.n_steps
            self._clear()
        self._remember(trainer)

    def _remember(self, trainer):
        """Before an update: whether to look at it, and the parameters as they are."""
        self._done = trainer.optimizer.n_steps
        self._looks = (self._done - self._first) % self.every == 0
        self._outputs = [None] * len(self._watched)
        if self._looks:
            for _, parameters, before in self._moving:
                for parameter, old in zip(parameters, before):
                    np.copyto(old, parameter.data)

    def _look_at(self, layer, i, limit):
        """Let watched layer i count the slopes of its units which are none, before its backward pass."""
        run, back = layer.forward, layer.backward
        from_output = layer.function not in kernels.SAVES_INPUT

        def forward(x, training=False):
            y = run(x, training)
            if self._looks and training:
                # What the derivative is computed from: the output, which not every layer keeps (a pooling may
                # apply it later), or the second array that the layer keeps, or the only one.
                self._outputs[i] = y if from_output else layer.saved[:2][-1]
            return y

        def backward(dy, *arguments, **options):
            kept, self._outputs[i] = self._outputs[i], None
            if kept is not None:
                slope = layer.buffer(kept.shape)
                slope.fill(1)
                kernels.activation_backward(slope, kept, slope, layer.function, layer.alpha)
                flat = np.abs(slope, out=slope) <= limit
                # Over samples first: NumPy adds long rows faster than the few channels of an image.
                counts = flat.sum(axis=0, dtype=np.uint32).reshape(-1, kept.shape[-1])
                self._flat[i] = self._flat[i] + counts.sum(axis=0)
                self._seen[i] += len(kept) * len(counts)
                del kept, slope  # free for the pass itself
            return back(dy, *arguments, **options)

        layer.forward, layer.backward = forward, backward

    def on_batch_end(self, trainer):
        if trainer.optimizer.n_steps == self._done:  # its gradient waits for that of further batches
            return
        if self._looks:
            share = 1.0 / getattr(trainer.optimizer, "accumulate_steps", 1)
            for i, (_, parameters, before) in enumerate(self._moving):
                gradient = share * _norm([p.grad for p in parameters])
                for parameter, old in zip(parameters, before):
                    np.subtract(parameter.data, old, out=old)
                moved, size = _norm(before), _norm([p.data for p in parameters])
                self._sums[:, i] += gradient, moved / size if size else 0.0
            self._updates += 1
        self._remember(trainer)

    def on_epoch_end(self, trainer):
        history, n = trainer.history, self._updates
        for (path, _, _), sums in zip(self._moving, self._sums.T):
            for name, total in zip(("grad_norm", "update_ratio"), sums):
                history.record(name, path, total / n if n else math.nan)
        for (path, _, quantity), flat, seen in zip(self._watched, self._flat, self._seen):
            history.record(quantity, path, np.mean(flat >= IDLE_OF[quantity] * seen) if seen else math.nan)

    def state_dict(self):
        return {
            "first": self._first, "updates": self._updates, "sums": self._sums,
            "flat": [np.asarray(flat) for flat in self._flat], "seen": list(self._seen),
        }  # fmt: skip

    def load_state_dict(self, state):
        self._first, self._updates, self._sums = state["first"], state["updates"], state["sums"]
        self._flat, self._seen = list(state["flat"]), list(state["seen"])


def _norm(arrays):
    """Euclidean norm of all numbers of some arrays together, summed in float64."""
    return math.sqrt(sum(kernels.sum_of_squares(array) for array in arrays))
