"""Ctrl-C while a training runs."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def first_ctrl_c(trainer):
    """Let the first Ctrl-C end training after the batch, where the state is whole; the second raises."""

    def handle(signum, frame):
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.interrupted = trainer.stop_training = True

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
