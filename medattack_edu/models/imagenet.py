"""ImageNet's 1,000 classes by name. The networks that know them are in `efficientnet_lite` and `torchvision_model`."""

import ast
import importlib.util
from functools import lru_cache
from pathlib import Path

CLASSES = 1000


@lru_cache
def class_names():
    """The name of each class, a tuple of 1,000: ``class_names()[859]`` is "toaster".

    They are read from torchvision's table without importing torchvision, which would take seconds and 155 MB (measured).
    """
    found = importlib.util.find_spec("torchvision")
    path = Path(found.submodule_search_locations[0]) / "models" / "_meta.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_IMAGENET_CATEGORIES":
            return tuple(ast.literal_eval(node.value))
    from torchvision.models import ResNet18_Weights  # the table has moved: ask in the ordinary way

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
