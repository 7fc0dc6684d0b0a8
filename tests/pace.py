"""How fast this machine is just now, against the one that the bars of time were set on.

The same work takes half as long again on a slower processor, or beside a neighbour who wears out the shared memory. That says
nothing of the work, so its bar is stretched by what a fixed piece of such work takes at the same time.
"""

import functools
import statistics
import threading
import time
from contextlib import contextmanager

IMAGES, SIDE = 16, 128
PAUSE_S = 12  # between two laps: they take a thirtieth of a core
# Processor seconds of a lap with one thread where the bars were set: two quiet cores of an EPYC 7003, PyTorch 2.14.
REFERENCE_S = 0.30


@functools.cache
def model():
    """The course's network with its batch norms folded and nothing else: what makes attacks quicker must not make this so."""
    import torch
    from torch.fx.experimental.optimization import fuse

    from medattack_edu.models.efficientnet_lite import efficientnet_lite0

    return fuse(efficientnet_lite0()).requires_grad_(False).to(memory_format=torch.channels_last)


def lap():
    """Processor seconds of one gradient step's work: the course's network, forward and back to the pixels."""
    import torch

    x = torch.full((IMAGES, 3, SIDE, SIDE), 0.5).requires_grad_()
    start = time.thread_time()
    torch.autograd.grad(model()(x).sum(), x)
    return time.thread_time() - start


@contextmanager
def watched():
    """Yields a list of how many times longer than the reference each lap took, run again and again as long as the block lasts."""
    lap()  # the first one warms up
    seen, over = [lap() / REFERENCE_S], threading.Event()

    def run():
        while not over.wait(PAUSE_S):
            seen.append(lap() / REFERENCE_S)

    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    try:
        yield seen
    finally:
        over.set()
        runner.join()


def slowness(seen):
    """How many times slower than the reference the machine was on the whole; less than 1 on a faster one."""
    return statistics.mean(seen)


def stretched(bar):
    """A bar in processor seconds, for this machine at this moment: longer where it is slow, never shorter."""
    lap()
    return bar * max(1, statistics.median(lap() for _ in range(3)) / REFERENCE_S)
