"""Tensors that are made once and read from then on: a file, its key, what if it is damaged. Nothing is made here."""

import ast
import contextlib
import hashlib
import warnings

from medattack_edu import runtime


class Unfinished(Exception):
    """Raised by a maker that was stopped on its way: `.tensors`, {name: tensor}, are handed out and not kept."""

    def __init__(self, tensors):
        super().__init__()
        self.tensors = tensors


def digest_of(files, *settings):
    """Twelve characters that change with what any of the Python `files` does, and with any of the `settings`.

    Comments, docstrings and line breaks do nothing: who mends a comment doesn't train everything again.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for file in files:
        digest.update(_what_it_does(file).encode())
    return digest.hexdigest()[:12]


def digest_of_weights(model):
    """Twelve characters that change with any parameter or buffer of a model."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def kept(path, make):
    """The tensors in a safetensors file; if it isn't there or is damaged, ``make()`` makes them and they are kept.

    Two programs that ask at once make them once: the second waits for the first. Where nothing can be written they are
    made and returned all the same, with a warning.

    Args:
        path: of the file. make: a function without arguments that returns {name: tensor}, or raises `Unfinished`.

    Returns:
        {name: tensor}.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if (tensors := _read(path)) is not None:
        return tensors
    with alone(path):
        if (tensors := _read(path)) is not None:  # made while we waited
            return tensors
        try:
            tensors = {name: tensor.contiguous() for name, tensor in make().items()}
        except Unfinished as stopped:
            return stopped.tensors
        try:
            with runtime.atomic_path(path) as temporary:
                save_file(tensors, temporary)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"{path.name} can't be kept and will be made again next time: {_reason(error)}", stacklevel=2)
    return tensors


def _read(path):
    """The tensors in the file; None if it isn't there or is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        return None
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, OSError) as error:
        warnings.warn(f"The cached {path.name} is damaged ({_reason(error)}); it is made again.", stacklevel=3)
        return None


def is_whole(path):
    """Whether this is a safetensors file that can be read, as far as its head tells."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):
            return True
    except (SafetensorError, OSError):
        return False


@contextlib.contextmanager
def alone(path):
    """Nobody else makes the same file meanwhile; where no lock can be had, somebody may, and both succeed."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock")
    with contextlib.suppress(
        OSError, NotImplementedError
    ):  # a folder that can't be written, a file system without locks
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another program is making {path.name}; waiting for it.", flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _what_it_does(file):
    """A Python file's syntax tree in words, without its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
    return ast.dump(tree)


def _reason(error):
    return (str(error).splitlines() or [type(error).__name__])[0]
