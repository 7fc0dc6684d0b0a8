"""Limits of control groups, read from folders that look like Linux's."""

import pytest

from medattack_edu import container


@pytest.fixture
def machine(tmp_path):
    """A function that writes files below a root, given as path=text; returns the root."""

    def machine(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return machine


def test_version_2_in_a_container(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "2147483648\n",
            "sys/fs/cgroup/memory.current": "1500000000\n",
            "sys/fs/cgroup/memory.stat": "anon 900000000\ninactive_file 500000000\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        }
    )
    assert container.memory(root) == (2147483648, 1_000_000_000)
    assert container.cores(root) == 1.5


def test_the_tightest_group_above_counts(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/user/job\n",
            "sys/fs/cgroup/user/job/memory.max": "max\n",
            "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user/memory.max": "4000000000\n",
            "sys/fs/cgroup/user/memory.current": "1000000000\n",
            "sys/fs/cgroup/user/cpu.max": "400000 100000\n",
        }
    )
    assert container.memory(root) == (4_000_000_000, 1_000_000_000)
    assert container.cores(root) == 4


def test_version_1(machine):
    root = machine(
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "600000000\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    assert container.memory(root) == (1073741824, 500_000_000)
    assert container.cores(root) == 2


def test_version_1_without_limits(machine):
    root = machine(
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    assert container.memory(root) is None
    assert container.cores(root) is None


def test_a_system_without_control_groups_has_no_limits(tmp_path):
    assert container.memory(tmp_path) is None
    assert container.cores(tmp_path) is None
