"""Why each weight wants a learning rate of its own (the notes, S3.4): `python examples/sparse_features.py`.

A linear regression with two features that are always there and one that is there in a fiftieth of the
samples. In a batch without it the gradient of its weight is exactly 0. Gradient descent, with one rate for
all weights, leaves this weight wrong long after the others are right; AdaGrad, RMSProp and MaxProp divide by
the gradients they have seen, and few were seen of this one. Prints how far the weights are from the true
ones, and draws it to sparse_features.png.
"""

import numpy as np

import fastnn as nn
from fastnn import plots
from fastnn.plots.figure import GRID, MUTED, PALETTE, new_figure

WEIGHTS = (1.0, -2.0, 3.0)  # the last is that of the rare feature
EPOCHS, BATCH_SIZE = 4, 10


class Watch(nn.Callback):
    """The weights after every update, and the gradient that led to them."""

    def __init__(self):
        self.weights, self.gradients = [], []

    def on_batch_end(self, trainer):
        self.weights.append(trainer.model.theta.copy())
        self.gradients.append(trainer.model.grad.copy())


def optimizers():
    """What is compared."""
    return {
        "gradient descent": nn.SGD(lr=0.1),
        "AdaGrad": nn.AdaGrad(lr=0.5),
        "RMSProp": nn.RMSProp(lr=0.05),
        "MaxProp": nn.MaxProp(lr=0.05),
    }


def train(optimizer, epochs=EPOCHS):
    """Distances from the true weights `(updates, 3)`, and the gradients `(updates, 3)`."""
    x, y = nn.datasets.sparse_feature_regression(1000, density=0.02, noise=0.1, seed=0, weights=WEIGHTS)
    line = nn.Dense(1, use_bias=False, weight_init="zeros")
    trainer = nn.Trainer(nn.Sequential([line], input_shape=(3,), seed=0), nn.SquaredError(), optimizer)
    watch = Watch()
    trainer.fit(x, y, epochs=epochs, batch_size=BATCH_SIZE, callbacks=[watch], verbose=False)
    return np.abs(np.array(watch.weights) - WEIGHTS), np.array(watch.gradients)


def draw(errors):
    """The distance of the rare feature's weight over the updates, and that of the others' mean."""
    figure, axes = new_figure(8.0, 3.2, 1, 2, sharey=True)
    parts = (("weight of the rare feature", slice(2, 3)), ("weights of the others", slice(0, 2)))
    for axis, (title, which) in zip(axes[0], parts):
        for (name, error), colour in zip(errors.items(), PALETTE):
            axis.plot(range(1, len(error) + 1), error[:, which].mean(axis=1), color=colour, label=name)
        axis.set_yscale("log")
        axis.set_title(f"{title}: distance from the true one", fontsize=9, loc="left")
        axis.set_xlabel("update", fontsize=8, color=MUTED)
        axis.grid(axis="y", color=GRID, linewidth=0.6)
    axes[0, 1].legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def main():
    """Print the table, draw the picture."""
    errors, share = {}, 0.0
    for name, optimizer in optimizers().items():
        errors[name], gradients = train(optimizer)
        share = float(np.mean(gradients[:, 2] == 0))
    print(f"In {share:.0%} of the batches the gradient of the rare feature's weight is exactly 0.\n")
    print("Distance from the true weights, of the rare feature and of the others (mean)\n")
    per_epoch = len(next(iter(errors.values()))) // EPOCHS
    print(" " * 18 + "".join(f"{f'epoch {epoch}':>18s}" for epoch in (1, 2, 4)))
    for name, error in errors.items():
        at = [error[epoch * per_epoch - 1] for epoch in (1, 2, 4)]
        print(f"{name:18s}" + "".join(f"{e[2]:11.3f}{e[:2].mean():7.3f}" for e in at))
    plots.save(draw(errors), "sparse_features.png")
    print("\nOver the updates: sparse_features.png")


if __name__ == "__main__":
    main()
