"""Training a patch as we and as ART do it; the other libraries have none. Nothing is timed here."""

import torch

from benchmarks.patch_training import art, ours
from benchmarks.side_by_side.rounds import Run


def runs(models, x, target, steps, batch, found):
    """A list of `Run`, as in `gradients`. target: the class that the patch is to speak for."""
    every = [
        Run("medattack", kind, lambda w=models[kind]: ours(w.model, x, target, steps, batch))
        for kind in ("frozen", "as trained")
    ]
    for name in ("ART", "Foolbox", "torchattacks", "CleverHans"):
        if found[name].problem or name != "ART":
            every.append(Run(name, problem=found[name].problem or "has no patch training"))
            continue
        for kind, watched in models.items():
            every.append(Run(name, kind, lambda w=watched: torch.as_tensor(art(w.model, x, target, steps, batch))))
    return every
