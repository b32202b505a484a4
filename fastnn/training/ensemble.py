"""Several models that answer together (the notes, S6.7)."""

import numpy as np

from .. import kernels
from .. import metrics as metrics_module
from ..checks import choice, integer, number
from ..errors import FileFormatError, NotBuiltError, ShapeError
from ..files import dump_json, model_from, read, write
from ..layers.base import to_config
from ..layers.model import Model
from ..losses.base import last_layer

COMBINE = ("mean", "vote", "geometric")
#: What a probability 0 counts as where its logarithm is taken.
TINY = np.finfo(np.float64).tiny


def expected_squared_error(k, variance, covariance):
    """Expected squared error of the mean of k models, `V / k + (k - 1) / k C` (the notes, S6.7).

    The errors of the models have mean 0, the variance V and, between any two of them, the covariance C.
    Independent errors, C = 0, leave V / k; equal ones, C = V, leave V: then k models are as good as one.

    Parameters
    ----------
    k : int
    variance : float
        V, at least 0.
    covariance : float
        C, in [-V / (k - 1), V]: no k numbers have a lower one.

    Examples
    --------
    >>> [round(expected_squared_error(10, 1.0, c), 3) for c in (0.0, 0.3, 1.0)]
    [0.1, 0.37, 1.0]
    """
    k = integer("expected_squared_error", "k", k)
    variance = number("expected_squared_error", "variance", variance, "[0, inf)")
    lowest = -variance / (k - 1) if k > 1 else -variance
    covariance = number("expected_squared_error", "covariance", covariance, f"[{lowest}, {variance}]")
    return variance / k + (k - 1) / k * covariance


class Ensemble:
    """Several models that answer together.

    With the members' probabilities `p_i`, i = 1 ... k (the notes, S6.7)::

        "mean"        p = (1 / k) sum p_i
        "geometric"   p = (prod p_i)^(1 / k) / Z     Z: so that the classes' p sum to 1
        "vote"        p = share of the members whose largest p_i is the class's

    The mean helps as far as the members' errors differ: the expected squared error is `V / k + (k - 1) / k C`
    with the variance V of an error and the covariance C of two (`expected_squared_error`). So the errors need
    not be independent, as the notes have it, only less than equal. The cross-entropy of the mean is
    never above the average of the members' (Jensen's inequality); nor is that of the geometric mean.

    Each sample's largest probability counts as its class, the lowest class of equals: so a tied vote goes to
    the lowest of the tied classes.

    Parameters
    ----------
    models : list of Model
        With the same input and output shape and dtype; the layers between may differ.
    combine : {"mean", "vote", "geometric"}
        Outputs that are not probabilities, of regressions for instance, have only a mean and, as scores
        `(K,)` of classes, a vote.
    activation : {"auto", "softmax", "sigmoid", "linear"}
        What makes probabilities of the members' outputs. "softmax" for logits of K classes, those that
        `SoftmaxCrossEntropy` takes; "sigmoid" for logits of outputs that are 0 or 1 each
        (`BinaryCrossEntropy`); "linear" takes the outputs as they are. "auto" is "linear" if the models end
        in Softmax or Sigmoid, "softmax" if they end in LogSoftmax, and otherwise an error: nothing in a model
        tells logits from numbers.

    Attributes
    ----------
    kind : {"classes", "binary", "values"}
        What the answers are: probabilities of K classes, of outputs that are 0 or 1 each, or other numbers.
    histories : list of History or None
        The members' trainings, after `bagging` or `train_ensemble`.
    samples : list of ndarray of int or None
        Numbers of the samples that each member was trained on, with repetitions, after `bagging`.
    oob : dict of str to float or None
        The out-of-bag estimate: loss and metrics, every sample answered only by the members that were not
        trained on it, and `"share"`, the part of the samples that has such members. An estimate of the
        error on new data that needs no data of its own [1].

    Raises
    ------
    ValueError, TypeError
        The models do not fit together, or `combine` and `activation` do not fit them.

    References
    ----------
    .. [1] Breiman, Bagging predictors, Machine Learning 24, 1996.

    Examples
    --------
    >>> import fastnn as nn
    >>> models = [nn.Sequential([nn.Dense(3)], input_shape=(4,), seed=seed) for seed in range(5)]
    >>> ensemble = Ensemble(models, activation="softmax")
    >>> p = ensemble.predict(np.ones((2, 4), np.float32))
    >>> p.shape, p.sum(1)
    ((2, 3), array([1., 1.], dtype=float32))
    """

    def __init__(self, models, combine="mean", activation="auto"):
        self.models = _checked_models(models)
        choice("Ensemble", "combine", combine, COMBINE)
        first = self.models[0]
        self.input_shape, self.output_shape = first.input_shape, first.output_shape
        self.combine, self.activation = combine, activation
        endings = {"softmax": "classes", "sigmoid": "binary", "linear": "values"}
        self.kind = endings[self._checked_activation()]
        is_scores = len(self.output_shape) == 1 and self.output_shape[0] > 1
        if not (
            combine == "mean"
            or self.kind == "binary"
            or (is_scores and (combine == "vote" or self.kind == "classes"))
        ):
            raise ValueError(
                f"Ensemble: combine: expected 'mean' for outputs {self.output_shape} that are not "
                f"probabilities. Received: {combine!r}; if they are logits, say so: activation='softmax' or "
                "'sigmoid'"
            )
        self.histories = self.samples = self.oob = None

    def _checked_activation(self):
        """What the probabilities come from, here or in the models: "softmax", "sigmoid" or "linear"."""
        endings = {ending(model) for model in self.models}
        if len(endings) > 1:
            raise ValueError(
                f"Ensemble: models: expected all to end alike. Received: {', '.join(sorted(endings))}"
            )
        own = endings.pop()
        if self.activation == "auto":
            known = {"softmax": "linear", "sigmoid": "linear", "logsoftmax": "softmax"}
            self.activation = known.get(own, "auto")
        if self.activation not in ("softmax", "sigmoid", "linear"):
            raise ValueError(
                "Ensemble: activation: expected 'softmax' or 'sigmoid' for models that end in logits, "
                f"'linear' for outputs that are averaged as they are. Received: {self.activation!r}"
            )
        if own == "logsoftmax":  # softmax(log p) is p, so these are logits too
            own = "linear"
        if self.activation == "linear":
            return own
        if own != "linear":
            raise ValueError(
                f"Ensemble: activation: expected 'linear', since the models end in {own}. "
                f"Received: {self.activation!r}"
            )
        if self.activation == "softmax" and (len(self.output_shape) != 1 or self.output_shape[0] < 2):
            raise ShapeError(
                "Ensemble: activation: expected models with outputs (K,), K of at least 2, for 'softmax'. "
                f"Received: {self.output_shape}; one logit of two classes is for 'sigmoid'"
            )
        return self.activation

    def __len__(self):
        return len(self.models)

    def __repr__(self):
        return f"Ensemble({len(self)} models, combine={self.combine!r}, activation={self.activation!r})"

    # Answers

    def predict(self, x, batch_size=None):
        """The combined probabilities, or means of other outputs, `(N, *output_shape)`.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        batch_size : int, optional
            As in `Model.predict`.
        """
        total = 0.0
        for model in self.models:
            total = total + self.share(model.predict(x, batch_size))
        return self.combined(total / len(self))

    def share(self, output):
        """What one member's outputs `(N, ...)` add to the sum over the members, in float64."""
        values = output.astype(np.float64, order="C")
        if self.combine == "geometric":  # its logits are the mean of the members' logits
            if self.activation != "linear":
                return values
            logits = np.log(np.maximum(values, TINY))
            return logits - np.log(np.maximum(1 - values, TINY)) if self.kind == "binary" else logits
        p = _probabilities(values, self.activation)
        if self.combine == "mean":
            return p
        if self.kind == "binary":
            return (p > 0.5).astype(np.float64)
        return (np.arange(p.shape[1]) == p.argmax(1)[:, None]).astype(np.float64)

    def combined(self, mean):
        """The answer, in the models' dtype, from the mean of the members' shares."""
        if self.combine == "geometric":
            mean = _probabilities(mean, "softmax" if self.kind == "classes" else "sigmoid")
        return mean.astype(self.models[0].model_dtype)

    def evaluate(self, x, y, metrics=("accuracy",), loss=None, sample_weight=None, batch_size=None):
        """Metrics over all samples, and the loss.

        Parameters
        ----------
        x, y : ndarray
        metrics : sequence of str, Metric or function
            As in `Trainer`; they get what `predict` returns.
        loss : Loss, optional
            One that takes the members' outputs: with "softmax" and "sigmoid" it gets the logits of the
            combined probabilities, `log p` or `log p - log(1 - p)`; a probability 0, which a vote may give,
            counts as 2.2e-308.
        sample_weight : ndarray (N,), optional
            For the loss.

        Returns
        -------
        dict of str to float
        """
        metrics = [metrics] if isinstance(metrics, str) or not hasattr(metrics, "__iter__") else metrics
        return self.scores(self.predict(x, batch_size), y, metrics, loss, sample_weight)

    def scores(self, p, y, metrics=(), loss=None, sample_weight=None):
        """`evaluate` of answers `p` that are known."""
        values = {}
        if loss is not None:
            output = p.astype(np.float64)
            if self.activation != "linear":
                output = np.log(np.maximum(output, TINY))
                if self.activation == "sigmoid":
                    output -= np.log(np.maximum(1 - p, TINY))
            values["loss"] = float(loss.evaluate(output.astype(p.dtype), y, sample_weight))
        return values | {m.name: float(m(p, y)) for m in map(metrics_module.get, metrics)}

    # Files

    def save(self, path):
        """Write all members into one safetensors file, atomically; `Ensemble.load` reads it.

        Member i's arrays are named `i/dense1.weight`. `histories`, `samples` and `oob` are not saved.
        """
        config = {"combine": self.combine, "activation": self.activation}
        config["models"] = [to_config(model) for model in self.models]
        states = enumerate(model.state_dict() for model in self.models)
        tensors = {f"{i}/{name}": array for i, state in states for name, array in state.items()}
        write(path, tensors, {"model": dump_json({"class": "Ensemble", "config": config}, "ensemble")})

    @classmethod
    def load(cls, path):
        """An ensemble from a file of `save`.

        Raises
        ------
        FileNotFoundError
        FileFormatError
            The file is truncated, or of another program, or holds a single model.
        """
        tensors, metadata = read(path)
        saved = metadata["model"]
        if not isinstance(saved, dict) or saved.get("class") != "Ensemble":
            raise FileFormatError(
                f"{path}: expected the file of an ensemble. Received: that of a model; read it with "
                "fastnn.load(path)"
            )
        try:
            config = saved["config"]
            states: list[dict] = [{} for _ in config["models"]]
            for name, array in tensors.items():
                member, _, name = name.partition("/")
                states[int(member)][name] = array
            models = [model_from(path, *parts) for parts in zip(config["models"], states)]
            return cls(models, config["combine"], config["activation"])
        except FileFormatError:
            raise
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise FileFormatError(f"{path}: expected the configuration of an ensemble. {error!r}") from error


def _probabilities(values, activation):
    """Probabilities (float64) from logits, or what "linear" outputs are."""
    if activation == "linear":
        return values
    p = np.empty(values.shape)
    if activation == "softmax":
        kernels.softmax_forward(values, p)
    else:
        kernels.activation_forward(values, p, "sigmoid")
    return p


def ending(model):
    """What the model ends in: "softmax", "sigmoid", "logsoftmax" or, for anything else, "linear"."""
    last = last_layer(model)
    names = type(last).__name__.lower(), getattr(last, "function", None)
    return next((name for name in ("softmax", "sigmoid", "logsoftmax") if name in names), "linear")


def _checked_models(models):
    """The models as a list, all of the same input, output and dtype."""
    models = list(models) if isinstance(models, (list, tuple)) else models
    if not isinstance(models, list) or not models or not all(isinstance(m, Model) for m in models):
        raise TypeError(f"Ensemble: models: expected a list of at least one model. Received: {models!r}")
    for i, model in enumerate(models):
        if model.input_shape is None or not model.is_root:
            raise NotBuiltError(
                f"Ensemble: models[{i}]: expected a built model that is not part of another. Received: one "
                "without input shape; give it input_shape=(...)"
            )
        wanted, got = ((m.input_shape, m.output_shape, str(m.model_dtype)) for m in (models[0], model))
        if got != wanted:
            raise ShapeError(
                f"Ensemble: models[{i}]: expected input, output and dtype of the first, {wanted}. "
                f"Received: {got}"
            )
    return models
