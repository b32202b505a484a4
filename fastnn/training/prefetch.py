"""Training batches, augmented and prepared ahead on a thread, so that the training does not wait for them."""

import threading
from queue import SimpleQueue

import numpy as np

from .._ext.threads import compute_alone
from ..workspace import Workspace


class Feed:
    """Training batches, augmented, and prepared ahead by a thread of their own.

    How far it is ahead changes no bit: an image's random numbers follow from seed, epoch, batch and place.
    """

    def __init__(self, batches, augment, prefetch, seed):
        if prefetch is None:
            prefetch = 0 if augment is None else 2
        if isinstance(prefetch, bool) or not isinstance(prefetch, (int, np.integer)) or prefetch < 0:
            raise ValueError(
                f"prefetch: expected a number of batches of at least 0, or None. Received: {prefetch!r}"
            )
        self.batches, self.augment, self.prefetch = batches, augment, int(prefetch)
        self.seed = seed % 2**64
        self._workspace = Workspace()

    def epoch(self, epoch, start_batch=0):
        """The batches of an epoch, from `start_batch` on."""
        if self.augment is None and not self.prefetch:
            return self.batches.epoch(epoch, start_batch)
        batches = self._prepared(epoch, start_batch)
        return ahead(batches, self.prefetch) if self.prefetch else batches

    def _prepared(self, epoch, start_batch):
        i = start_batch
        try:
            for batch in self.batches.epoch(epoch, start_batch):
                yield batch if self.augment is None else self._augmented(*batch, step=(epoch << 32) + i)
                i += 1
        except Exception as error:
            if hasattr(error, "add_note"):  # from Python 3.11 on
                error.add_note(f"This happened while batch {i + 1} of epoch {epoch + 1} was prepared.")
            raise

    def _augmented(self, x, y, *weight, step):
        image = self.augment(x, self.seed, step, self._workspace.take)
        return (image, image if y is x else y, *weight)  # an autoencoder is to return what it got


def ahead(batches, count):
    """The same batches, up to `count` of them prepared ahead by a thread, which ends with the loop."""
    ready: SimpleQueue = SimpleQueue()
    free, stop = threading.Semaphore(count), threading.Event()

    def prepare():
        compute_alone()
        try:
            while free.acquire() and not stop.is_set():
                ready.put(next(batches))
        except StopIteration:
            ready.put(None)
        except BaseException as error:
            ready.put(error)
        finally:
            batches.close()

    thread = threading.Thread(target=prepare, name="fastnn batches", daemon=True)
    thread.start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            free.release()
            yield batch
    finally:
        stop.set()
        free.release()
        thread.join(1.0)  # a source that does not answer must not keep Ctrl-C waiting
