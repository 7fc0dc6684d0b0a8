"""The three splits of a clinic in one file: written whole or not at all, checked when read. Knows no source of images.

Grey images are kept, in the file and in memory, as one plane that is seen three times.
"""

import hashlib

from medattack_edu import runtime
from medattack_edu.clinics.images import ImageSet, ImagesUnavailable, Splits

SPLITS = ("train", "attacker", "test")
_KINDS = ("images", "labels")


class DamagedImages(ImagesUnavailable):
    """The file of images isn't what was written."""


def assemble(parts, *, classes, source, licence):
    """The `Splits` made of these parts, the same that `write` and `read` would give.

    Args:
        parts: of each of "train", "attacker" and "test": images, uint8 (N, 1 or 3, H, W), and labels, int64 (N,).
        classes, source, licence: as in `Splits` and its sets.
    """
    tensors, facts = _flatten(parts, classes, source, licence)
    return _splits(parts, facts, _fingerprint(tensors, facts))


def write(path, parts, *, classes, source, licence):
    """Write what `assemble` takes to `path` (safetensors).

    Raises:
        OSError: if it can't be written.
    """
    from safetensors.torch import save_file

    tensors, facts = _flatten(parts, classes, source, licence)
    with runtime.atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={**facts, "fingerprint": _fingerprint(tensors, facts)})


def read(path):
    """The `Splits` that `write` put there.

    Raises:
        FileNotFoundError: if nothing is there.
        DamagedImages: if what is there has changed since it was written.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {f"{split}_{kind}": file.get_tensor(f"{split}_{kind}") for split in SPLITS for kind in _KINDS}
    except SafetensorError as error:
        raise DamagedImages(f"{path} is damaged ({error}).") from None
    fingerprint = facts.pop("fingerprint", None)
    if fingerprint != _fingerprint(tensors, facts):
        raise DamagedImages(f"{path} is damaged (its content doesn't match its checksum).")
    parts = {split: (tensors[f"{split}_images"], tensors[f"{split}_labels"]) for split in SPLITS}
    return _splits(parts, facts, fingerprint)


def _flatten(parts, classes, source, licence):
    """The tensors and the texts of a file."""
    tensors = {f"{split}_{kind}": part for split in SPLITS for kind, part in zip(_KINDS, parts[split], strict=True)}
    return tensors, {"healthy": classes[0], "disease": classes[1], "source": source, "licence": licence}


def _splits(parts, facts, fingerprint):
    classes = facts["healthy"], facts["disease"]
    sets = {split: ImageSet(parts[split][0].expand(-1, 3, -1, -1), parts[split][1], classes) for split in SPLITS}
    return Splits(**sets, source=facts["source"], licence=facts["licence"], fingerprint=fingerprint)


def _fingerprint(tensors, facts):
    """A checksum of the pixels, labels and class names: the same wherever the file lies and whatever it is called."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((facts.get("healthy"), facts.get("disease"))).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()
