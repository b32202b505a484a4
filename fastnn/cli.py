"""The command line: `fastnn train | evaluate | predict | bench | info`."""

import argparse
import inspect
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import config, files, metrics, models, optimizers
from .data import datasets
from .errors import FastnnError, MissingExtraError
from .losses import SoftmaxCrossEntropy
from .optimizers import Adam
from .schedules import cosine, exponential, one_cycle, step_decay
from .training import Checkpoint, CSVLogger, EarlyStopping, Trainer

MODELS: dict[str, Callable] = {"lenet5": models.lenet5, "mlp": models.mlp}
DATA = ("fashion-mnist-sample", "fashion-mnist", "mnist", "cifar10", "shapes")
#: The recipe: rate, batch, dropout before the last layers, and epochs on the sample and on a full set.
RECIPE = {"lr": 2e-3, "batch_size": 64, "dropout": 0.25, "epochs_sample": 12, "epochs": 15}
SHAPES = {"n_train": 4000, "n_test": 1000, "size": 32}
OPTIMIZERS = {name.lower(): getattr(optimizers, name) for name in optimizers.__all__ if name != "Optimizer"}
#: Rates of the optimizers that have none of their own, and the recipe's.
RATES = {"adam": RECIPE["lr"], "sgd": 0.1, "momentum": 0.02, "nag": 0.02}
#: The highest rate and the number of updates -> a rate or a schedule.
SCHEDULES: dict[str, Callable] = {
    "constant": lambda lr, steps: lr,
    "cosine": lambda lr, steps: cosine(lr, max(2, steps), warmup=min(100, steps // 2)),
    "exponential": lambda lr, steps: exponential(lr, math.log(100) / steps),
    "one-cycle": lambda lr, steps: one_cycle(lr, max(2, steps)),
    "step": lambda lr, steps: step_decay(lr, max(1, steps // 5)),
}


def saved_model(arguments):
    """The file of a trained model: the one given, or that of `fastnn train --data ...`."""
    return arguments.model or str(Path("runs", f"lenet5-{arguments.data}", "model.safetensors"))


def load_data(name, path=None):
    """`(x_train, y_train), (x_test, y_test), class names` of a data set by its command-line name."""
    if name == "fashion-mnist-sample":
        sets = datasets.fashion_mnist_sample()
    elif name == "shapes":
        n = SHAPES["n_train"]
        x, y = datasets.shapes(n + SHAPES["n_test"], size=SHAPES["size"], seed=0)
        sets = (x[:n], y[:n]), (x[n:], y[n:])
    else:
        sets = {
            "fashion-mnist": datasets.fashion_mnist,
            "mnist": datasets.mnist,
            "cifar10": datasets.cifar10,
        }[name](path)
    return *sets, class_names(name)


def class_names(name):
    """Names of the classes of a data set by its command-line name."""
    return datasets.class_names(name.removesuffix("-sample").replace("-", "_"))


def optimizer_for(name, lr, schedule, steps):
    """A new optimizer by its command-line name; `lr` and `schedule` may be None."""
    make = OPTIMIZERS[name]
    if "lr" not in make.arguments:
        for option, value in (("--lr", lr), ("--schedule", schedule)):
            if value is not None:
                raise ValueError(
                    f"{option}: expected none for {name}, which tries rates of its own at every step. "
                    f"Received: {value}; leave it out, or take armijolinesearch, which begins with --lr"
                )
        return make()
    rate = lr or RATES.get(name) or inspect.signature(make).parameters["lr"].default
    schedule = schedule or ("constant" if make.needs_closure else "cosine")
    return make(lr=SCHEDULES[schedule](rate, steps))


def train(arguments):
    """Train a network, leave it with its history and pictures in a folder."""
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ValueError(f"--epochs: expected at least 1. Received: {arguments.epochs}")
    (x, y), (x_test, y_test), names = load_data(arguments.data, arguments.path)
    full = arguments.data not in ("fashion-mnist-sample", "shapes")
    epochs = arguments.epochs or RECIPE["epochs" if full else "epochs_sample"]
    folder = Path(arguments.out or Path("runs", f"{arguments.model}-{arguments.data}"))
    folder.mkdir(parents=True, exist_ok=True)
    model = MODELS[arguments.model](
        input_shape=x.shape[1:], num_classes=len(names), dropout=RECIPE["dropout"], seed=arguments.seed
    )
    print(f"{arguments.model} on {arguments.data}: {len(x):,} training and {len(x_test):,} test images\n")
    print(model.summary(), end="\n\n")
    split = 0.1
    n_train = len(x) - round(split * len(x))
    steps = -(-n_train // arguments.batch_size) * epochs
    optimizer = optimizer_for(arguments.optimizer, arguments.lr, arguments.schedule, steps)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=["accuracy"], seed=arguments.seed)
    checkpoint = folder / "checkpoint.safetensors"
    history = trainer.fit(
        x, y, epochs=epochs, batch_size=arguments.batch_size, validation_split=split,
        callbacks=[EarlyStopping(patience=epochs), CSVLogger(folder / "history.csv"), Checkpoint(checkpoint)],
        resume_from=checkpoint if arguments.resume else None,
    )  # fmt: skip
    model.save(folder / "model.safetensors")
    result = trainer.evaluate(x_test, y_test)
    print(f"\ntest loss {result['loss']:.4f}, test accuracy {result['accuracy']:.2%}")
    print(f"What the curves say:\n{history.diagnose()}")
    print(f"wrote {folder / 'model.safetensors'}, {folder / 'history.csv'}")
    try:
        draw(folder, model, history, x_test, y_test, names)
    except MissingExtraError as error:
        print(f"no pictures: {error}")
    return 0


def draw(folder, model, history, x, y, names):
    """Write learning curves, confusion matrix, filters and worst mistakes."""
    from . import plots

    probabilities = softmax(model.predict(x))
    matrix = metrics.confusion_matrix(y, probabilities.argmax(axis=1), len(names))
    pictures = {
        "learning_curves.png": plots.learning_curves(history),
        "confusion.png": plots.confusion(matrix, names),
        "mistakes.png": plots.mistakes(x, y, probabilities, names),
    }
    first = model.layers[0]
    if first.kind == "conv":
        pictures["filters.png"] = plots.filters(first)
    for name, figure in pictures.items():
        plots.save(figure, folder / name)
    print(f"wrote {', '.join(str(folder / name) for name in pictures)}")


def check_classes(model, names, data):
    """Raise unless the model has an output for each class of the data set."""
    if model.output_shape != (len(names),):
        raise ValueError(
            f"--data: expected the data set that the model was trained on. Received: {data}, {len(names)} "
            f"classes; the model's output has shape {model.output_shape}"
        )


def softmax(logits):
    """Probabilities from logits."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def evaluate(arguments):
    """Loss, accuracy and the accuracy of each class on a test set."""
    model = files.load(saved_model(arguments))
    check_classes(model, class_names(arguments.data), arguments.data)
    _, (x, y), names = load_data(arguments.data, arguments.path)
    result = Trainer(model, SoftmaxCrossEntropy(), Adam(), metrics=["accuracy"]).evaluate(x, y)
    matrix = metrics.confusion_matrix(y, model.predict(x).argmax(axis=1), len(names))
    print(f"{saved_model(arguments)} on the {len(x):,} test images of {arguments.data}:")
    print(f"loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}")
    width = max(map(len, names))
    for i, name in enumerate(names):
        print(f"  {name:{width}s}  {matrix[i, i] / max(1, matrix[i].sum()):7.2%}")
    return 0


def predict(arguments):
    """The three likeliest classes of each image."""
    from .images import read_image

    model = files.load(saved_model(arguments))
    names = class_names(arguments.data)
    check_classes(model, names, arguments.data)
    for path in arguments.images:
        probabilities = softmax(model.predict(read_image(path, model.input_shape, arguments.invert)))[0]
        best = np.argsort(-probabilities)[:3]
        print(f"{path}: " + ", ".join(f"{names[i]} {probabilities[i]:.1%}" for i in best))
    return 0


def bench(arguments):
    """Times of a training step and of inference on this machine."""
    from .machine import median_seconds

    rng = np.random.default_rng(0)
    print(config.show_config(), end="\n\n")
    print(f"{'network':8s} {'batch':>5s} {'training step':>15s} {'inference':>12s} {'images/s':>10s}")
    for name, build in MODELS.items():
        for n in (1, 32, 128):
            x = rng.random((n, 28, 28, 1), dtype=np.float32)
            y = rng.integers(0, 10, n)
            model = build(seed=0)
            trainer = Trainer(model, SoftmaxCrossEntropy(), Adam())
            step = median_seconds(lambda t=trainer, x=x, y=y: t.train_step(x, y), arguments.seconds)
            inference = median_seconds(lambda m=model, x=x: m.predict(x), arguments.seconds)
            print(f"{name:8s} {n:5d} {step * 1e3:12.3f} ms {inference * 1e3:9.3f} ms {n / inference:10.0f}")
    print("\nAgainst other frameworks: python bench/peers.py, in the source tree.")
    return 0


def info(arguments):
    """Versions, processor, instruction set, threads, and the data sets that are here."""
    print(config.show_config(), end="\n\n")
    print("data sets:")
    for name, (where, mend) in datasets.available().items():
        print(f"  {name:25s} {where or f'not here: {mend}'}")
    return 0


def positive(kind):
    """An argument type: a number above 0."""

    def parse(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"expected a number above 0. Received: {text}")
        return value

    return parse


def parser():
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="fastnn", description="Small, fast neural networks on the CPU.")
    top.add_argument("--threads", type=positive(int), help="threads for the kernels (default: all cores)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function, **options):
        sub = commands.add_parser(
            function.__name__, help=function.__doc__.splitlines()[0],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(function=function)
        if options.get("data"):
            sub.add_argument("--data", choices=DATA, default=DATA[0], help="data set")
        if options.get("path"):
            sub.add_argument("--path", help="folder of the data set's files, if not in a usual place")
        if options.get("saved"):
            sub.add_argument(
                "--model", help="file of a trained model (default: what train leaves for that data)"
            )
        return sub

    sub = command(train, data=True, path=True)
    sub.add_argument("--model", choices=list(MODELS), default="lenet5", help="network")
    sub.add_argument(
        "--epochs",
        type=positive(int),
        help=f"passes over the data (default: {RECIPE['epochs_sample']} on the sample and on shapes, "
        f"{RECIPE['epochs']} on a full set)",
    )
    sub.add_argument(
        "--batch-size", type=positive(int), default=RECIPE["batch_size"], help="images per update"
    )
    sub.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="adam", help="rule of the updates")
    rates = ", ".join(f"{rate} for {name}" for name, rate in RATES.items())
    sub.add_argument(
        "--lr", type=positive(float), help=f"highest learning rate (default: {rates}, else its own)"
    )
    sub.add_argument(
        "--schedule",
        choices=list(SCHEDULES),
        help="of the rate (default: cosine; constant for a line search)",
    )
    sub.add_argument("--seed", type=int, default=0, help="of first weights, dropout and order")
    sub.add_argument("--out", help="folder for the results (default: runs/MODEL-DATA)")
    sub.add_argument("--resume", action="store_true", help="go on from the checkpoint in that folder")
    command(evaluate, data=True, path=True, saved=True)
    sub = command(predict, data=True, saved=True)
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="picture (needs Pillow) or .npy array")
    sub.add_argument("--invert", choices=["auto", "yes", "no"], default="auto",
                     help="turn dark on light into light on dark, as the training images are")  # fmt: skip
    sub = command(bench)
    sub.add_argument("--seconds", type=positive(float), default=1.0, help="time for each measurement")
    command(info)
    return top


def main(argv=None):
    """Run a command; errors that users can mend are one line without a traceback."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.threads:
            config.set_num_threads(arguments.threads)
        return arguments.function(arguments)
    except (FastnnError, ValueError, TypeError, OSError) as error:
        print(f"fastnn {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nfastnn {arguments.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
