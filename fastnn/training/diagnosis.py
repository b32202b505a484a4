"""Where an infinite or undefined number came from, and the way back to the last good state."""

import numpy as np

_SLICE = 1 << 20  # numbers tested at a time, so that the test needs little memory


def all_finite(array):
    """Whether every number is finite; integers always are."""
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1)
    return all(np.isfinite(flat[i : i + _SLICE]).all() for i in range(0, flat.size, _SLICE))


def not_finite(model):
    """Names of the parameters and buffers that hold a number that is not finite."""
    arrays = {name: p.data for name, p in model.parameters.items()} | model.buffers
    return [name for name, array in arrays.items() if not all_finite(array)]


class Snapshot:
    """Everything a step changes, as it was when an epoch began."""

    def __init__(self, trainer):
        self.trainer = trainer
        self.model = trainer.model.state_dict()
        self.optimizer = trainer.optimizer.state_dict()
        self.totals = trainer.totals.state_dict()
        self.step = trainer.model.workspace.step
        self.epoch, self.batch = trainer.epoch, trainer.batch

    def restore(self, bad_batch):
        """Back to the last good state; returns what was done.

        The loss is computed before the update. So if the batch is to blame, parameters and optimizer are
        still those of the last good step, and stay. If not, the steps before made them what they are,
        perhaps finite but huge: then model, optimizer and position go back to where the epoch began.
        """
        trainer, model = self.trainer, self.trainer.model
        parameters = [p.data for p in model.parameters.values()]
        if bad_batch and all(map(all_finite, [*parameters, *trainer.optimizer.state_dict().values()])):
            for name in not_finite(model):  # running averages, which the forward pass changes
                model.buffers[name][...] = self.model[name]
            return f"The model is as the last good update left it, step {trainer.optimizer.n_steps}."
        model.load_state_dict(self.model)
        trainer.optimizer.load_state_dict(self.optimizer)
        trainer.totals.load_state_dict(self.totals)
        model.workspace.step = self.step
        trainer.epoch, trainer.batch = self.epoch, self.batch
        where = f"epoch {self.epoch + 1} {'was resumed' if self.batch else 'began'}"
        return f"Model and optimizer are back where {where}, step {trainer.optimizer.n_steps}."


def explain(trainer, loss, x, target, sample_weight=None):
    """Why the loss of this batch is not finite: position, the first faulty tensor, likely cause.

    Returns
    -------
    message : str
    bad_batch : bool
        Whether the batch itself holds a number that is not finite.
    """
    place = f"step {trainer.optimizer.n_steps + 1}"
    if trainer.fitting:
        place = f"epoch {trainer.epoch + 1}, batch {trainer.batch + 1} ({place})"
    lr = trainer.optimizer.current_lr()
    fault = _fault_of_batch(x, target, sample_weight)
    bad_batch = fault is not None
    fault, cause = fault or _fault_of_model(trainer.model, x, target, lr)
    received = f"{loss} in {place}, lr={lr:g}"
    text = f"loss: expected a finite number. Received: {received}.\n{fault}\nLikely cause: {cause}."
    return text, bad_batch


def _fault_of_batch(x, target, sample_weight):
    for name, array in (("x", x), ("target", target), ("sample_weight", sample_weight)):
        if array is not None and not all_finite(np.asarray(array)):
            row = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))[0])
            return f"First faulty tensor: {name}, {_share(array)}, first in row {row} of the batch.", (
                "the data; look at it with numpy.isnan before training"
            )
    return None


def _fault_of_model(model, x, target, lr):
    too_fast = f"a learning rate too high for this network (lr={lr:g}; try {lr / 10:g})"
    faults = [n for n in not_finite(model) if n in model.parameters]
    if faults:
        name = faults[0]
        return (
            f"First faulty tensor: parameter {name}, {_share(model.parameters[name].data)}; "
            "the update before this batch made it so."
        ), too_fast
    layer, given, output = _first_faulty_output(model, x)
    if layer is not None:
        weight = max((float(np.abs(p.data).max()) for p in layer.own_parameters.values()), default=0.0)
        sizes = f"its input is finite (largest {_largest(given):.3g})" + (
            f", its parameters too (largest {weight:.3g})" if weight else ""
        )
        unscaled = (
            f"inputs that are not scaled (largest |x| {_largest(x):.3g}), or " if _largest(x) > 100 else ""
        )
        return (
            f"First faulty tensor: output of {layer.label()}, {_share(output)}; {sizes}.",
            unscaled + too_fast,
        )
    output = model.forward(x)
    return (
        f"The model's output is finite (largest {_largest(output):.3g}), the loss is not; "
        f"largest target {_largest(np.asarray(target)):.3g}."
    ), f"numbers too large for {model.model_dtype}: scale the targets, or {too_fast}"


def _first_faulty_output(model, x):
    """`(layer, its input, its output)` of the first layer whose output is not finite, or Nones."""
    found = [None, None, None]
    workspace = model.workspace
    step, buffers = workspace.step, {name: array.copy() for name, array in model.buffers.items()}
    layers = [layer for _, layer in model.walk() if layer is not model]

    def watched(layer, forward):
        def probe(x, training=False):
            y = forward(x, training)
            if found[0] is None and all_finite(x) and not all_finite(y):
                found[:] = layer, x, y
            return y

        return probe

    try:
        workspace.fuse = False  # every layer gives its own output
        for layer in layers:
            layer.forward = watched(layer, layer.forward)
        workspace.step = step - 1  # the same dropout masks
        model.forward(x, True)
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
        workspace.fuse, workspace.step = True, step
        for name, array in buffers.items():
            model.buffers[name][...] = array
    return found


def _largest(array):
    return float(np.abs(array).max(initial=0))


def _share(array):
    bad = array.size - np.count_nonzero(np.isfinite(array))
    kind = "nan" if np.isnan(array).any() else "inf"
    return f"{bad} of {array.size} values are {kind}"
