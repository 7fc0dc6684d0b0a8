"""The names of ImageNet's classes."""

import subprocess
import sys

from medattack_edu.models import imagenet


def test_there_are_a_thousand_names_in_the_order_of_the_networks():
    names = imagenet.class_names()
    assert len(names) == imagenet.CLASSES
    assert [names[k] for k in (281, 504, 859, 954, 967)] == ["tabby", "coffee mug", "toaster", "banana", "espresso"]


def test_they_are_torchvisions_own():
    from torchvision.models import ResNet18_Weights

    assert list(imagenet.class_names()) == ResNet18_Weights.DEFAULT.meta["categories"]


def test_reading_them_does_not_import_torchvision():
    code = "import sys; from medattack_edu.models.imagenet import class_names; class_names(); print('torchvision' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
