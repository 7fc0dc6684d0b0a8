"""What a container grants this process, read from Linux control groups, versions 1 and 2. Elsewhere: no limits.

A group's own limit and those of all groups above it hold at once; the tightest counts.
"""

from pathlib import Path
from typing import NamedTuple

# Version 1 writes "no limit" as the largest multiple of the page size; anything near it is none.
NO_LIMIT = 1 << 60


class Memory(NamedTuple):
    """Bytes that the processes of this container may use in all, and those that they can't give back."""

    limit: int
    used: int


def memory(root=Path("/")):
    """The tightest memory limit, as `Memory`, or None. `root` is where proc/ and sys/ are."""
    found = []
    for folder in _groups(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        if limit and limit < NO_LIMIT:
            # Pages of files that were only read count as used, but make room when room is needed.
            found.append(Memory(limit, max(0, used - _statistic(folder, "inactive_file"))))
    return min(found, key=lambda memory: memory.limit - memory.used, default=None)


def cores(root=Path("/")):
    """The tightest limit of processor time, in cores (0.5 is half of one), or None. `root` as in `memory`."""
    found = []
    for folder in _groups(root, "cpu"):
        # Microseconds in each period: "200000 100000", or "max 100000"; version 1 has a file for each.
        words = _text(folder / "cpu.max").split() or [
            _text(folder / f"cpu.cfs_{part}_us") for part in ("quota", "period")
        ]
        quota, period = words
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _groups(root, controller):
    """The folder of this process's control group and of each above it, as far as they can be seen from here."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        own = top.joinpath(*(part for part in Path(path).parts if part not in ("/", "..")))
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir())


def _text(path):
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path):
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _statistic(folder, name):
    """A number from memory.stat. Version 1 keeps the sum over the groups below under a name of its own."""
    lines = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
    numbers = {key: value for key, _, value in lines}
    return int(numbers.get(f"total_{name}", numbers.get(name, 0)))
