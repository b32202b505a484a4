"""Layer by layer before the labels (the notes, S6.9): `python examples/pretraining.py`.

A network of sigmoids on Fashion-MNIST, most of whose images have no labels here, is trained from
random weights and from weights that autoencoders learned. Prints both curves and draws them, what the
autoencoders give back, and what the units of the first layer look at, to pretraining.png.
"""

import numpy as np

import fastnn as nn
from fastnn.plots.figure import GRID, MUTED, TRAIN, VALIDATION, new_figure, save

UNITS = (256, 128, 64, 32)
LABELLED = 500


def network():
    return nn.models.mlp((784,), UNITS, activation="sigmoid", seed=0)


def supervised(model, data, test, epochs):
    """The history of a training on the images that have labels."""
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=3e-3), metrics=["accuracy"])
    return trainer.fit(*data, epochs=epochs, batch_size=50, validation_data=test, verbose=False)


def back(stages, x):
    """Images that have gone through the first 1, 2, ... autoencoders and back."""
    results, h = [], x
    for depth, stage in enumerate(stages, 1):
        h = image = stage.autoencoder["encoder"].predict(h)
        for earlier in reversed(stages[:depth]):
            image = earlier.autoencoder["decoder"].predict(image)
        results.append(image)
    return results


def main(pretraining_epochs=8, epochs=30):
    (x, y), (x_test, y_test) = nn.datasets.fashion_mnist_sample()
    x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    data, test = (x[:LABELLED], y[:LABELLED]), (x_test, y_test)

    model, start = network(), network()
    print(f"{len(x):,} images, {LABELLED} of them with labels; a network 784, {UNITS}, 10 of sigmoids")
    stages = nn.pretrain_layerwise(model, x, pretraining_epochs, batch_size=100, verbose=False,
                                   noise=nn.MaskingNoise(keep_prob=0.7))  # fmt: skip
    spread = [float(((h - h.mean(0)) ** 2).sum(1).mean()) for h in inputs(stages, x)]
    for stage, total in zip(stages, spread):
        loss = stage.history["loss"][-1]
        print(f"{stage.name}: loss {loss:.2f}; its input's variance is {total:.2f}")
    first_weights = start["dense1"].weight.data.copy(), model["dense1"].weight.data.copy()

    histories = {"random start": supervised(start, data, test, epochs)}
    histories["pre-trained"] = supervised(model, data, test, epochs)
    print(f"\naccuracy on {len(x_test):,} others\nepoch " + "".join(f"{name:>14s}" for name in histories))
    for epoch in (1, 2, 5, 10, 20, 30):
        if epoch <= epochs:
            print(
                f"{epoch:5d} " + "".join(f"{h['val_accuracy'][epoch - 1]:14.3f}" for h in histories.values())
            )

    draw(x_test[:8], back(stages, x_test[:8]), first_weights, histories)
    print("\npretraining.png shows reconstructions, weights and curves")


def inputs(stages, x):
    """What each autoencoder was trained on."""
    for stage in stages:
        yield x
        x = stage.autoencoder["encoder"].predict(x)


def draw(images, reconstructions, first_weights, histories):
    figure, ((left, middle, right),) = new_figure(11.0, 3.4, 1, 3)
    depths = [f"{depth} deep" for depth in range(1, len(reconstructions) + 1)]
    left.imshow(tiles([images, *reconstructions]), cmap="gray_r", vmin=0, vmax=1)
    named(left, "there and back", ["image", *depths])
    weights = [matrix[:16] / np.abs(matrix[:16]).max() for matrix in first_weights]
    four = [part for matrix in weights for part in (matrix[:8], matrix[8:])]
    middle.imshow(tiles(four), cmap="RdBu_r", vmin=-1, vmax=1)
    named(middle, "weights of 16 first units", ["random", "", "learned", ""])
    for (name, history), colour in zip(histories.items(), (TRAIN, VALIDATION)):
        right.plot(history.epochs, history["val_accuracy"], color=colour, label=name)
    right.set_title(f"test accuracy, {LABELLED} labels", fontsize=10, loc="left")
    right.set_xlabel("epoch", fontsize=8, color=MUTED)
    right.grid(axis="y", color=GRID, linewidth=0.6)
    right.legend(frameon=False, fontsize=8)
    save(figure, "pretraining.png")


def tiles(rows):
    """Rows of pictures 28 x 28 as one picture, with gaps between them."""
    pictures = np.pad(np.stack(rows).reshape(len(rows), -1, 28, 28), ((0, 0), (0, 0), (2, 2), (2, 2)))
    return pictures.transpose(0, 2, 1, 3).reshape(len(rows) * 32, -1)


def named(axis, title, names):
    """A title, and a name at each row of pictures."""
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_xticks([])
    axis.set_yticks([16 + 32 * i for i in range(len(names))], names)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


if __name__ == "__main__":
    main()
