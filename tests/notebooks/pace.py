"""How fast this machine is just now, against the one that the notebooks' bars were set on.

The same notebook takes half as long again on a slower processor, or beside a neighbour who wears out the shared memory.
That says nothing of the notebook, so its bar is stretched by what a fixed piece of the same work takes before and after it.
"""

import functools
import statistics
import time

IMAGES, SIDE, LAPS = 16, 128, 5
# Processor seconds of a lap with one thread where the bars were set: two quiet cores of an EPYC 7003, PyTorch 2.14.
REFERENCE_S = 0.30


@functools.cache
def model():
    from medattack_edu import freeze
    from medattack_edu.models.efficientnet_lite import efficientnet_lite0

    return freeze(efficientnet_lite0())


def lap():
    """Processor seconds of one gradient step's work: the course's network, forward and back to the pixels."""
    import torch

    x = torch.full((IMAGES, 3, SIDE, SIDE), 0.5).requires_grad_()
    start = time.process_time()
    torch.autograd.grad(model()(x).sum(), x)
    return time.process_time() - start


def slowness():
    """How many times longer than the reference a lap takes now; less than 1 on a faster machine."""
    lap()  # the first one warms up
    return statistics.mean(lap() for _ in range(LAPS)) / REFERENCE_S
