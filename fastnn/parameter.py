"""A parameter: values and gradient of one shape, both views into the model's vectors."""

from typing import Any


class Parameter:
    """One array that training changes.

    Attributes
    ----------
    name : str
        `"weight"`, `"bias"`, ...; the model's state dict prefixes the layer's name.
    shape : tuple of int
    initializer : callable
        `initializer(shape, rng) -> array`.
    decay : bool
        Whether weight decay and penalties apply (weights yes; biases and normalisation no).
    trainable : bool
        False in a frozen layer (`Layer.trainable`): then nothing computes its gradient, which stays 0.
    data : ndarray
        Values: a view into `model.theta`, allocated by its first use.
    """

    data: Any

    def __init__(self, name, shape, initializer, decay=True):
        self.name = name
        self.shape = tuple(int(n) for n in shape)
        self.initializer = initializer
        self.decay = decay
        self.trainable = True
        self.stream = 0  # which of the random streams of the seed gives the first values
        self.owner: Any = None  # the outermost model, which allocates theta and grad
        self._grad: Any = None
        self.fresh = False  # the gradient has been written since zero_grad()

    @property
    def size(self):
        """Number of elements."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    def __getattr__(self, name):
        # Asked only while there is no attribute `data`: afterwards it costs nothing (a property would).
        if name != "data":
            raise AttributeError(f"Parameter has no attribute {name!r}")
        self.owner.allocate_parameters()
        return self.data

    @property
    def grad(self):
        """Gradient: a view into `model.grad`, allocated by the first backward pass."""
        if self._grad is None:
            self.owner.allocate_gradients()
        if not self.fresh:  # nothing has written it since zero_grad()
            self._grad[...] = 0
            self.fresh = True
        return self._grad

    def accumulate(self):
        """Whether a kernel is to add to `grad`: not on its first use after `zero_grad()`."""
        fresh, self.fresh = self.fresh, True
        return fresh

    def __repr__(self):
        return f"Parameter({self.name!r}, shape={self.shape})"
