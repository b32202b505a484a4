"""From what users pass to `fit` to batches: arrays, or anything that yields batches."""

import numpy as np

from ..data.augmentation import Augmentation
from ..data.batches import Batches, check_finite, train_validation_split
from ..errors import NotBuiltError, ShapeError
from .prefetch import Feed

VALIDATION_BATCH = 128  # at least: without gradients small batches only cost time


class Stream:
    """Batches from a user's iterable, or from a function `epoch -> iterable`.

    Each batch is `(x, y)` or `(x, y, sample_weight)`, arrays as the model takes them.
    """

    def __init__(self, source, name, epochs=1):
        if not callable(source) and not hasattr(source, "__iter__"):
            raise TypeError(
                f"{name}: expected arrays, an iterable of batches (x, y), or a function epoch -> iterable. "
                f"Received: {type(source).__name__}"
            )
        if epochs > 1 and hasattr(source, "__next__"):
            raise ValueError(
                f"{name}: expected batches that can be gone through {epochs} times, once per epoch. "
                f"Received: {type(source).__name__}, which is empty after the first; give a list, or a "
                "function epoch -> iterable"
            )
        self.source, self.name = source, name
        self.length = len(source) if hasattr(source, "__len__") else None

    def epoch(self, epoch, start_batch=0):
        """The batches of an epoch, from `start_batch` on."""
        batches = self.source if hasattr(self.source, "__iter__") else self.source(epoch)
        n = 0
        for n, batch in enumerate(batches, 1):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError(
                    f"{self.name}: expected batches (x, y) or (x, y, sample_weight). "
                    f"Received: {_describe(batch)}"
                )
            if n > start_batch:
                yield tuple(batch)
        least = max(start_batch, 1)
        if n < least:
            raise ValueError(
                f"{self.name}: expected at least {least} batches in epoch {epoch + 1}. Received: {n}"
            )


def seed_of_order(seed, n_fits):
    """The seed of the data's order: another for every `fit`."""
    return seed if not n_fits else int(np.random.SeedSequence([seed, n_fits]).generate_state(1, np.uint64)[0])


def n_batches(batches):
    """Batches per epoch, or None if the source does not tell."""
    batches = batches.batches if isinstance(batches, Feed) else batches
    return batches.length if isinstance(batches, Stream) else len(batches)


def from_arrays(model, loss, x, y, sample_weight=None, finite=True, name="", augment=None, **options):
    """Checked `Batches` of arrays; `options` are those of `Batches`. Builds a model without input shape.

    Images that will be augmented are checked as `augment` returns them.
    """
    same = y is x
    x = np.asarray(x)
    y = x if same else np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or not len(x):
        raise ValueError(
            f"{name}x: expected arrays with at least one sample. Received: shape={x.shape}, y shape={y.shape}"
        )
    if len(x) != len(y):
        raise ShapeError(f"{name}y: expected {len(x)} targets, as many as x has samples. Received: {len(y)}")
    # Bytes and other integers become the model's numbers; between floating point types nothing is cast.
    dtype = None if x.dtype.kind == "f" else model.model_dtype
    first_x, first_y = next(Batches(x[:1], y[:1], shuffle=False, dtype=dtype).epoch(0))
    if augment is not None:
        model.check_input(augment(first_x))
    else:
        model.check_input(x if model.input_shape not in (None, x.shape[1:]) else first_x)
    loss.check_model(model)
    try:
        loss.check_target(first_y, model.output_shape, 1)
    except (ValueError, TypeError):
        loss.check_target(y, model.output_shape, len(x))  # says it for the whole array
        raise
    if y.ndim == 1 or y.dtype.kind == "f":
        loss.check_target(y, model.output_shape, len(x))
    if finite:
        check_finite(x, f"{name}x")
        check_finite(y, f"{name}y")
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)
        if sample_weight.shape != x.shape[:1]:
            raise ShapeError(
                f"{name}sample_weight: expected shape ({len(x)},), one for each sample. "
                f"Received: shape={sample_weight.shape}"
            )
        check_finite(sample_weight, f"{name}sample_weight")
        if sample_weight.min() < 0 or not sample_weight.any():
            raise ValueError(
                f"{name}sample_weight: expected numbers of at least 0, not all 0. "
                f"Received: {sample_weight.min()} ... {sample_weight.max()}"
            )
    return Batches(x, y, sample_weight=sample_weight, dtype=dtype, **options)


def training_feed(
    model, loss, x, y, sample_weight, batch_size, shuffle, validation_split, validation_data, epochs, seed,
    order_seed, augment=None, prefetch=None,
):  # fmt: skip
    """What `fit` trains on and validates with.

    Returns
    -------
    train : Feed
    validation : Batches or Stream, or None without validation data
    description : dict
        What must be the same when the training is resumed.
    """
    if not 0 <= validation_split < 1:
        raise ValueError(f"validation_split: expected a number in [0, 1). Received: {validation_split!r}")
    if augment is not None and not isinstance(augment, Augmentation):
        raise TypeError(
            f"augment: expected an augmentation, such as nn.augmentation.RandomFlip(). Received: {augment!r}"
        )
    if validation_split and validation_data is not None:
        raise ValueError("validation_split, validation_data: expected one of the two. Received: both")
    if y is None:
        train, validation = _from_stream(model, loss, x, sample_weight, validation_split, epochs), None
        description = {"seed": getattr(train, "seed", None), "batches": n_batches(train)}
    else:
        kept = held_out = None
        if validation_split:
            kept, held_out = _split(x, y, validation_split, seed)
        options = {"indices": kept, "batch_size": batch_size, "shuffle": shuffle, "seed": order_seed}
        train = from_arrays(model, loss, x, y, sample_weight, augment=augment, **options)
        validation = None
        if validation_split:
            options |= {
                "indices": held_out,
                "batch_size": max(train.batch_size, VALIDATION_BATCH),
                "shuffle": False,
            }
            validation = from_arrays(model, loss, x, y, sample_weight, finite=False, **options)
        description = {
            "n_samples": train.n_samples, "batch_size": train.batch_size, "shuffle": bool(shuffle),
            "validation_split": validation_split, "sample_weight": sample_weight is not None,
        }  # fmt: skip
    if validation_data is not None:
        size = max(getattr(train, "batch_size", 0), VALIDATION_BATCH)
        validation = evaluation_feed(model, loss, validation_data, size, epochs, finite=True)
    if augment is not None:
        description["augment"] = repr(augment)
    return Feed(train, augment, prefetch, order_seed), validation, description


def evaluation_feed(model, loss, data, batch_size, epochs=1, finite=False):
    """Batches of `(x, y)`, `(x, y, sample_weight)` or an iterable, in order."""
    name = "validation " if finite else ""
    if isinstance(data, (tuple, list)) and len(data) in (2, 3) and all(hasattr(a, "shape") for a in data):
        weight = data[2] if len(data) == 3 else None
        options = {"batch_size": batch_size, "shuffle": False}
        return from_arrays(model, loss, data[0], data[1], weight, finite, name, **options)
    return data if isinstance(data, Batches) else Stream(data, f"{name}data", epochs)


def _from_stream(model, loss, source, sample_weight, validation_split, epochs):
    if hasattr(source, "shape"):
        raise ValueError(
            "y: expected targets. Received: None; an autoencoder's targets are its inputs, fit(x, x)"
        )
    if validation_split:
        raise ValueError(
            "validation_split: expected arrays x and y to split. Received: batches; "
            "use validation_data=(x, y)"
        )
    if sample_weight is not None:
        raise ValueError(
            "sample_weight: expected it in the batches, (x, y, sample_weight). Received: an array"
        )
    if model.input_shape is None:
        raise NotBuiltError(
            f"{model.label()}: expected a model with known input shape, to be trained from batches. "
            "Give input_shape=(...) to the model"
        )
    loss.check_model(model)
    return source if isinstance(source, Batches) else Stream(source, "x", epochs)


def _split(x, y, fraction, seed):
    y = np.asarray(y)
    if len(x) != len(y):
        raise ShapeError(f"y: expected {len(x)} targets, as many as x has samples. Received: {len(y)}")
    labels = y.argmax(1) if y.ndim == 2 and y.shape[1] > 1 and _one_hot(y) else y
    return train_validation_split(x, labels, fraction, seed)


def _one_hot(y):
    return bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())


def _describe(batch):
    if isinstance(batch, (tuple, list)):
        return f"{type(batch).__name__} of {len(batch)}"
    return f"{type(batch).__name__}" + (f" of shape {batch.shape}" if hasattr(batch, "shape") else "")
