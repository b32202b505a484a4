"""Many trainings of a model on bootstrap samples, or of several, in parallel processes (the notes, S6.7)."""

import copy
from pickle import PicklingError  # what loky raises; nothing is read or written with pickle here

import numpy as np

from .. import kernels
from ..checks import integer
from ..config import get_num_threads, set_num_threads
from ..errors import MissingExtraError, NotBuiltError, ShapeError, require
from ..layers.base import checked_seed
from ..losses import NLL, BinaryCrossEntropy, KLDivergence, SoftmaxCrossEntropy
from .ensemble import Ensemble, ending
from .history import History
from .trainer import Trainer

#: What makes probabilities of a model's outputs, by the loss it was trained with: `softmax(log p)` is p.
ACTIVATIONS = {SoftmaxCrossEntropy: "softmax", KLDivergence: "softmax", NLL: "softmax",
               BinaryCrossEntropy: "sigmoid"}  # fmt: skip


def bagging(build, data, k, bootstrap=True, combine="mean", seed=0, n_jobs=None, **fit):
    """Train k models of the same kind, each on a bootstrap sample of its own, in parallel (the notes, S6.7).

    A bootstrap sample is N samples drawn from the N with replacement: each is left out with the probability
    `(1 - 1/N)^N`, about 0.368. That makes the members' errors differ, and the mean of the members has less
    variance than one of them, see `expected_squared_error`. Nothing in bagging says that each model
    should overfit, as the notes have it: it takes variance away and leaves the bias, so members with
    little bias are a good choice, even if that means much variance.

    Parameters
    ----------
    build : callable
        A function `seed -> Trainer` that makes an untrained model with loss and optimizer, with
        `model = Sequential(..., seed=seed)`; the same for the same seed.
    data : (x, y) or (x, y, sample_weight)
        Arrays, as `Trainer.fit` takes them.
    k : int
        How many models.
    bootstrap : bool
        False trains every model on all the data: they then differ by their first weights and the order of
        the data only.
    combine : {"mean", "vote", "geometric"}
        As in `Ensemble`; what makes probabilities of the outputs is known from the loss.
    seed : int
        Of the members' seeds and samples. The same seed gives the same bits, in any number of processes.
    n_jobs : int, optional
        Number of processes; by default, as many as fastnn uses threads, at most k. They are started afresh by
        joblib's loky, never forked, and share the threads out among them. 1: no other process, and joblib is
        not needed.
    **fit
        Options of `Trainer.fit`: `epochs`, `batch_size`, `validation_data`, `callbacks`, ... Each member's
        training gets callbacks of its own, whose attributes stay in its process; those that write files
        would all write the same.

    Returns
    -------
    Ensemble
        With `histories`, `samples` and the out-of-bag estimate `oob`.

    Raises
    ------
    RuntimeError
        A member's training failed: the message says which, and why.
    MissingExtraError
        `n_jobs` is not 1, and joblib is not installed.
    ValueError, TypeError
        An argument does not fit, or `build` cannot be sent to another process.

    References
    ----------
    .. [1] Breiman, Bagging predictors, Machine Learning 24, 1996.

    Examples
    --------
    >>> import fastnn as nn
    >>> def build(seed):
    ...     model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)], input_shape=(2,), seed=seed)
    ...     return nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.02), metrics=["accuracy"])
    >>> x, y = nn.datasets.moons(200, seed=0)
    >>> ensemble = bagging(build, (x, y), k=5, epochs=30, n_jobs=1)
    >>> len(ensemble), ensemble.predict(x).shape, sorted(ensemble.oob)
    (5, (200, 2), ['accuracy', 'loss', 'share'])
    """
    builders = [build] * integer("bagging", "k", k)
    return train_ensemble(builders, data, bootstrap, combine, seed, n_jobs, **fit)


def train_ensemble(builders, data, bootstrap=False, combine="mean", seed=0, n_jobs=None, **fit):
    """Train a model of each builder on the same data, in parallel: different architectures (S6.7).

    Parameters
    ----------
    builders : list of callable
        Functions `seed -> Trainer`; their models have the same input and output. See `bagging`, also for
        all that follows.
    data : (x, y) or (x, y, sample_weight)
    bootstrap : bool
        Whether each model gets a bootstrap sample of its own.
    combine : {"mean", "vote", "geometric"}
    seed : int
    n_jobs : int, optional
    **fit
        Options of `Trainer.fit`.

    Returns
    -------
    Ensemble
    """
    data = _checked_data(data)
    fit = {"verbose": False} | fit
    if bootstrap and fit.get("validation_split"):
        raise ValueError(
            f"validation_split: expected 0 with bootstrap. Received: {fit['validation_split']}; copies of a "
            "sample would be on both sides: use validation_data=(x, y), or the estimate oob"
        )
    if not isinstance(builders, (list, tuple)) or not builders:
        raise TypeError(f"builders: expected a list of functions seed -> Trainer. Received: {builders!r}")
    streams = np.random.SeedSequence(checked_seed(seed)).spawn(len(builders))
    rngs = [np.random.default_rng(stream) for stream in streams]
    seeds = [int(rng.integers(2**31)) for rng in rngs]
    n = len(data[0])
    samples = [rng.integers(n, size=n) if bootstrap else None for rng in rngs]
    trainers = [_built(build, seed) for build, seed in zip(builders, seeds)]
    activations = {_activation_of(trainer.loss) for trainer in trainers}
    if len(activations) > 1:
        raise ValueError(
            f"builders: expected losses of one kind. Received: outputs for {', '.join(sorted(activations))}"
        )
    models = [trainer.model for trainer in trainers]
    activation = "auto" if all(ending(model) != "linear" for model in models) else activations.pop()
    ensemble = Ensemble(models, combine, activation)
    n_jobs = get_num_threads() if n_jobs is None else integer("bagging", "n_jobs", n_jobs)
    n_jobs = min(n_jobs, len(builders))
    jobs = [(f"member {i + 1} of {len(builders)}", samples[i], data, fit) for i in range(len(builders))]
    if n_jobs == 1:
        ensemble.histories = [_train(*job, trainer) for job, trainer in zip(jobs, trainers)]
    else:
        trained = _in_processes(n_jobs, [(*job, *how) for job, *how in zip(jobs, builders, seeds)])
        for model, (state, _) in zip(models, trained):
            model.load_state_dict(state)
        ensemble.histories = [History.from_json(history) for _, history in trained]
    if bootstrap:
        ensemble.samples = samples
        ensemble.oob = _out_of_bag(ensemble, trainers, data)
    return ensemble


def _checked_data(data):
    """The data as a tuple of arrays."""
    is_arrays = isinstance(data, (tuple, list)) and len(data) in (2, 3)
    if not is_arrays or not all(hasattr(array, "shape") and len(array.shape) for array in data):
        raise TypeError(
            f"data: expected arrays (x, y) or (x, y, sample_weight). Received: {type(data).__name__}"
        )
    lengths = [len(array) for array in data]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ShapeError(f"data: expected as many targets as samples, at least 1. Received: {lengths}")
    return tuple(data)


def _built(build, seed):
    """The trainer that `build` makes, or the error that it makes none."""
    if not callable(build) or isinstance(build, type):
        raise TypeError(f"build: expected a function seed -> Trainer. Received: {build!r}")
    trainer = build(seed)
    if not isinstance(trainer, Trainer):
        raise TypeError(f"build: expected a function that returns a Trainer. Received: {trainer!r}")
    if trainer.model.input_shape is None:
        raise NotBuiltError(
            "build: expected a trainer of a built model. Received: one without input shape; give "
            "input_shape=(...) to its model"
        )
    return trainer


def _activation_of(loss):
    return next((name for kind, name in ACTIVATIONS.items() if isinstance(loss, kind)), "linear")


def _train(member, sample, data, fit, trainer):
    """Train one member; returns its history."""
    arrays = data if sample is None else tuple(np.asarray(array)[sample] for array in data)
    given = dict(zip(("x", "y", "sample_weight"), arrays)) | fit
    try:
        given["callbacks"] = copy.deepcopy(fit.get("callbacks", ()))  # as another process would get them
        history = trainer.fit(**given)
    except Exception as error:
        raise RuntimeError(f"{member}: {type(error).__name__}: {error}") from error
    if trainer.interrupted:  # fit ends well after Ctrl-C, and the others must end too
        raise KeyboardInterrupt(member)
    return history


def _in_process(member, sample, data, fit, build, seed, n_threads, which):
    """The same in another process; returns the parameters and the history as they can be sent."""
    set_num_threads(n_threads)
    kernels.use_kernels(which)
    trainer = build(seed)
    history = _train(member, sample, data, fit, trainer)
    return trainer.model.state_dict(), history.to_json()


def _in_processes(n_jobs, jobs):
    """`_in_process` of each job, in `n_jobs` processes that share the threads."""
    try:
        joblib = require("joblib", "parallel")
    except MissingExtraError as error:
        raise MissingExtraError(f"{error} Or train in this process: n_jobs=1.") from None
    broken = require("joblib.externals.loky.process_executor", "parallel")
    share = max(1, get_num_threads() // n_jobs), kernels.kernels_in_use()
    call = joblib.delayed(_in_process)
    try:
        return joblib.Parallel(n_jobs, backend="loky")(call(*job, *share) for job in jobs)
    except (PicklingError, broken.BrokenProcessPool) as error:
        if isinstance(error, broken.TerminatedWorkerError):  # killed, for lack of memory for instance
            raise
        raise TypeError(
            "build, callbacks: expected what another process can import, or functions without files, locks "
            f"and the like in them. Received: {jobs[0][4]!r}, {jobs[0][3].get('callbacks', ())!r} "
            f"({error}); n_jobs=1 sends nothing"
        ) from error


def _out_of_bag(ensemble, trainers, data):
    """Loss and metrics, each sample answered by the members that were not trained on it; None without any."""
    x, y, *weight = (np.asarray(array) for array in data)
    total = np.zeros((len(x), *ensemble.output_shape))
    count = np.zeros(len(x), np.int64)
    for trainer, sample in zip(trainers, ensemble.samples):
        left_out = np.setdiff1d(np.arange(len(x)), sample)
        total[left_out] += ensemble.share(trainer.predict(x[left_out]))
        count[left_out] += 1
    seen = count > 0
    if not seen.any():
        return None
    mean = total[seen] / count[seen].reshape(-1, *[1] * len(ensemble.output_shape))
    loss, metrics = trainers[0].loss, trainers[0].metrics
    values = ensemble.scores(ensemble.combined(mean), y[seen], metrics, loss, *(w[seen] for w in weight))
    return values | {"share": float(seen.mean())}
