"""The kernels of a convolution as pictures (the notes, S9.2)."""

import warnings

import numpy as np

from .figure import new_figure


def filters(layer, channel=0):
    """Each filter of a convolutional layer as a picture.

    Only the first layer's filters can be read as images: deeper ones act on feature maps, and one channel
    of each is shown.

    Parameters
    ----------
    layer : Conv2D
        Of a built model. With 3 input channels the filters are shown in colour.
    channel : int
        Input channel that is shown otherwise.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if getattr(layer, "weight", None) is None or layer.weight.data.ndim != 4:
        raise ValueError(f"layer: expected a built Conv2D. Received: {layer!r}")
    weight = layer.weight.data
    n, _, _, channels = weight.shape
    colour = channels == 3
    if channels not in (1, 3):
        warnings.warn(f"{layer.label()} acts on {channels} feature maps, not on an image; "
                      f"channel {channel} is shown", stacklevel=2)  # fmt: skip
    columns = min(8, max(5, n))  # fewer leave no room for the title
    rows = -(-n // columns)
    figure, axes = new_figure(1.1 * columns, 1.1 * rows + 0.4, rows, columns)
    limit = float(np.abs(weight).max()) or 1.0
    for axis in axes.flat:
        axis.axis("off")
    for axis, kernel in zip(axes.flat, weight):
        if colour:
            axis.imshow(0.5 + kernel / (2 * limit))
        else:
            axis.imshow(kernel[..., channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
    note = "grey is 0" if colour else f"white is 0, red positive, blue negative, scale ±{limit:.2f}"
    figure.suptitle(f"{layer.name}: {n} filters; {note}", fontsize=9, x=0.01, ha="left")
    return figure
