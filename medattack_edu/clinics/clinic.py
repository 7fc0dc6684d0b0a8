"""Open a clinic: its images, from wherever they come, and its victim. The drawing, fetching and training are elsewhere."""

from pathlib import Path

from medattack_edu import runtime
from medattack_edu.clinics.images import ImageSet, ImagesUnavailable
from medattack_edu.clinics.tasks import task
from medattack_edu.models import surrogates, victims

__all__ = ["Clinic", "ImageSet", "ImagesUnavailable", "open_clinic"]


class Clinic:
    """A diagnostic task with images and a model that answers it.

    Attributes:
        name: "fundus", "chest" or "derm". title, question: the same in words.
        classes: the two class names; class 1 is the disease.
        train, attacker, test: ImageSets of different patients.
        source, licence: where the images come from, and their terms.
    """

    def __init__(self, name, splits):
        here = task(name)
        self.name, self.title, self.question, self.classes = name, here.title, here.question, splits.train.classes
        self.train, self.attacker, self.test = splits.train, splits.attacker, splits.test
        self.source, self.licence, self.fingerprint = splits.source, splits.licence, splits.fingerprint
        self._victims, self._surrogates = {}, {}

    def victim(self, backbone="efficientnet_lite0"):
        """The classifier that the course attacks, trained on `train` once and cached.

        In eval mode, without parameter gradients, on the device: pixels in [0, 1] to two logits.
        """
        if backbone not in self._victims:
            self._victims[backbone] = victims.trained(
                self.train, name=f"{self.name} victim", fingerprint=self.fingerprint, backbone=backbone
            )
        return self._victims[backbone]

    def surrogate(self, kind="twin", oracle=None):
        """A model that an attacker trains on `attacker`, other patients than the victim's; cached like a victim.

        Args:
            kind: "twin" (the victim's architecture and ImageNet start), "relative" (EfficientNet-Lite1, ImageNet start),
                "scratch" (the victim's architecture without pre-training) or "small" (a small network from scratch).
            oracle: an `attacks.Oracle` on the victim, to take its answers as labels in place of the images' own. It is asked
                one query an image, each time that this is called.

        In eval mode, without parameter gradients, on the device: pixels in [0, 1] to two logits.
        """
        if oracle is not None:
            return surrogates.surrogate(
                self.attacker, kind, name=self.name, fingerprint=self.fingerprint, oracle=oracle
            )
        if kind not in self._surrogates:
            self._surrogates[kind] = surrogates.surrogate(
                self.attacker, kind, name=self.name, fingerprint=self.fingerprint
            )
        return self._surrogates[kind]

    def __repr__(self):
        return (
            f"{self.title}. Images: {self.source}; {len(self.train)} to train, {len(self.attacker)} for an attacker, "
            f"{len(self.test)} to test, {self.train.images.shape[-1]} px. Device: {runtime.device_label()}. "
            f"Licence: {self.licence}."
        )

    def banner(self):
        """Print the one line that every lesson begins with: which images, how many, which device, which licence."""
        print(self)


def open_clinic(name, images="auto", size=128, positive=None):
    """Open a clinic.

    Args:
        name: "fundus", "chest" or "derm".
        images: "phantom" draws them; "medmnist" takes the fetched ones; "real" takes the tree in ``MEDATTACK_DATA``, else
            MedMNIST; a path takes your own folder (``train/`` and ``test/`` with a folder a class); "auto" does what
            ``MEDATTACK_IMAGES`` says, else takes MedMNIST if it was fetched, else phantoms.
        size: side in pixels.
        positive: the folder name of the disease, where a folder of your own uses names that aren't known.

    Returns:
        A Clinic.

    Raises:
        ValueError: if there is no such clinic or source, or the folder isn't as it should be.
        ImagesUnavailable: if the images were asked for by name and aren't here.
    """
    task(name)
    if str(images) == "auto":
        images = runtime.images_setting()
    return Clinic(name, _splits(name, images, size, positive))


def _splits(name, images, size, positive):
    from medattack_edu.clinics import medmnist, phantoms

    wanted = str(images)
    if wanted == "phantom":
        return phantoms.load(name, size)
    if wanted == "medmnist":
        return medmnist.load(name, size)
    if wanted == "real":
        root = runtime.data_root()
        return _folder(root, name, size, positive) if root else medmnist.load(name, size)
    if wanted == "auto":
        if not medmnist.is_fetched(name, size):
            return phantoms.load(name, size)
        try:
            return medmnist.load(name, size)
        except ImagesUnavailable as error:
            print(f"{error} Phantoms are used for now.")
            return phantoms.load(name, size)
    return _folder(images, name, size, positive)


def _folder(path, name, size, positive):
    from medattack_edu.clinics import folder

    if not Path(path).expanduser().exists():
        raise ValueError(
            f"images={str(path)!r} is neither 'auto', 'phantom', 'medmnist' or 'real', nor a folder that exists."
        )
    return folder.load(path, size, name=name, positive=positive)
