"""What many networks do better than one (the notes, S6.7): `python examples/bagging.py`.

Prints three tables and draws the error over the number of networks to bagging.png:
the formula V/k + (k - 1)/k C against a simulation, the same for networks of a regression, and a
classification in which the samples that a network was not trained on tell the error of all.
"""

import numpy as np

import fastnn as nn
from fastnn.plots.figure import MUTED, TRAIN, VALIDATION, new_figure, save
from fastnn.training.ensemble import expected_squared_error

KS = (1, 2, 3, 5, 10, 20)


def simulated(covariance, n=100_000):
    """Mean squares of the means of k errors that are drawn with variance 1 and this covariance."""
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(n, 1)), rng.normal(size=(n, max(KS)))
    errors = np.sqrt(covariance) * common + np.sqrt(1 - covariance) * own
    return [float((errors[:, :k].mean(1) ** 2).mean()) for k in KS]


def regression(seed):
    """A network that can follow every point of a noisy sine: little bias, much variance."""
    model = nn.Sequential([nn.Dense(40, activation="tanh"), nn.Dense(1)], input_shape=(1,), seed=seed)
    return nn.Trainer(model, nn.SquaredError(), nn.Adam(lr=0.02))


def classifier(seed):
    """A network of one hidden layer for the images of Fashion-MNIST."""
    model = nn.models.mlp(units=(64,), seed=seed)
    return nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=1e-3), metrics=["accuracy"])


def networks():
    """V and C of twenty networks' errors, and the squared error of the means of k of them."""
    x, y = nn.datasets.noisy_sine(40, noise=0.4, seed=0)
    x_test, truth = nn.datasets.noisy_sine(500, noise=0.0, seed=1)
    ensemble = nn.bagging(regression, (x, y), k=max(KS), epochs=200, batch_size=10)
    errors = np.stack([model.predict(x_test) for model in ensemble.models])[..., 0] - truth[:, 0]
    products = errors @ errors.T / len(x_test)
    k = len(errors)
    variance = float(np.trace(products)) / k
    covariance = float(products.sum() - np.trace(products)) / (k * (k - 1))
    rng = np.random.default_rng(0)
    choices = [[rng.choice(k, size, replace=False) for _ in range(500)] for size in KS]
    measured = [float(np.mean([(errors[c].mean(0) ** 2).mean() for c in some])) for some in choices]
    return variance, covariance, measured


def table(title, rows):
    print(f"\n{title}\n" + " " * 22 + "".join(f"k = {k:<6d}" for k in KS))
    for name, values in rows:
        print(f"{name:22s}" + "".join(f"{value:<10.4f}" for value in values))


def classification():
    """Accuracies of ten networks on a small set of images, alone and together."""
    (x, y), (x_test, y_test) = nn.datasets.fashion_mnist_sample()
    ensemble = nn.bagging(classifier, (x, y), k=10, epochs=6)
    alone = [float((m.predict(x_test).argmax(1) == y_test).mean()) for m in ensemble.models]
    print(f"\nFashion-MNIST, {len(x):,} images, 10 networks: accuracy on {len(x_test):,} others")
    print(f"one network        {np.mean(alone):.4f} on average, {min(alone):.4f} to {max(alone):.4f}")
    for combine in ("mean", "geometric", "vote"):
        together = nn.Ensemble(ensemble.models, combine, "softmax").evaluate(x_test, y_test)["accuracy"]
        print(f"all, {combine:13s} {together:.4f}")
    print(f"out of bag         {ensemble.oob['accuracy']:.4f}, without any of the {len(x_test):,} others")


def main():
    ratios = (0.0, 0.3, 1.0)
    formula = {c: [expected_squared_error(k, 1.0, c) for k in KS] for c in ratios}
    simulation = {c: simulated(c) for c in ratios}
    for c in ratios:
        table(f"C/V = {c}", [("V/k + (k-1)/k C", formula[c]), ("simulation", simulation[c])])
    variance, covariance, measured = networks()
    expected = [expected_squared_error(k, variance, covariance) for k in KS]
    name = f"Bagged networks on a noisy sine: V = {variance:.4f}, C = {covariance:.4f}"
    table(f"{name}, C/V = {covariance / variance:.2f}", [("formula", expected), ("networks", measured)])
    classification()

    figure, ((left, right),) = new_figure(8.0, 3.2, 1, 2)
    for c, colour in zip(ratios, (TRAIN, VALIDATION, MUTED)):
        left.plot(KS, formula[c], color=colour, label=f"C/V = {c:g}")
        left.plot(KS, simulation[c], "o", color=colour, markersize=4)
    right.plot(KS, expected, color=TRAIN, label="V/k + (k-1)/k C")
    right.plot(KS, measured, "o", color=VALIDATION, markersize=4, label="networks")
    right.axhline(covariance, color=MUTED, linewidth=1, linestyle="--", label="C: what averaging leaves")
    for axis, title in ((left, "error of a mean: formula and simulation"), (right, "bagged networks")):
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("number of networks k", fontsize=8, color=MUTED)
        axis.set_ylabel("expected squared error", fontsize=8, color=MUTED)
        axis.set_xticks(KS)
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8)
    save(figure, "bagging.png")
    print("\nbagging.png shows the errors over the number of networks")


if __name__ == "__main__":
    main()
