"""What the machine tells: cores within the quotas of control groups."""

import pytest

from minigan.backends.machine import cpu_quotas


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, [1.5]),
        ("0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, [0.5]),
        ("0::/not/seen/from/here", {"cpu.max": "300000 100000"}, [3]),
        ("4:cpu,cpuacct:/d", {"cpu/d/cpu.cfs_quota_us": "200000", "cpu/d/cpu.cfs_period_us": "100000"}, [2]),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("0::/", {"cpu.max": "garbage"}, []),
        ("0::/", {"cpu.max": "100000 0"}, []),
        ("nonsense", {}, []),
        (None, {}, []),
    ],
)
def test_quotas_of_control_groups(tmp_path, groups, files, quotas):
    (tmp_path / "proc/self").mkdir(parents=True)
    if groups is not None:
        (tmp_path / "proc/self/cgroup").write_text(groups + "\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert list(cpu_quotas(tmp_path)) == quotas
