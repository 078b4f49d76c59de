"""What the machine tells: free memory and cores, within the control groups of a container; and what is refused by that."""

import re

import pytest

import minigan as mg
from minigan.backends import machine
from minigan.backends.machine import Machine, cpu_quotas, free_and_total_memory
from minigan.errors import DeviceMemoryError, MiniganError

MEMINFO = "MemTotal:       16384000 kB\nMemFree:          100000 kB\nMemAvailable:    8192000 kB\nHugePages_Total:       0\n"


@pytest.fixture
def root(tmp_path):
    def write(files):
        for name, text in {"proc/meminfo": MEMINFO, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def group(folder, limit, used, cached, version=2):
    names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    return {
        f"{folder}/memory.{names[0]}": f"{limit}\n",
        f"{folder}/memory.{names[1]}": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cached}\n",
    }


def test_free_is_what_the_kernel_can_hand_out(root):
    assert free_and_total_memory(root({})) == (8000, 16000), "its caches of files included"


def test_the_limit_of_a_container_counts(root):
    files = group("sys/fs/cgroup", 2**30, 2**29, 2**28)
    assert free_and_total_memory(root({"proc/self/cgroup": "0::/\n", **files})) == (768, 1024)


def test_the_narrowest_group_counts(root):
    outer, inner = group("sys/fs/cgroup/a", 2**30, 0, 0), group("sys/fs/cgroup/a/b", "max", 2**29, 0)
    assert free_and_total_memory(root({"proc/self/cgroup": "0::/a/b\n", **outer, **inner})) == (1024, 1024)


def test_groups_of_version_1(root):
    names = "5:cpu:/x\n4:memory:/job\n0::/\n"
    files = group("sys/fs/cgroup/memory/job", 2**31, 2**30, 0, version=1)
    assert free_and_total_memory(root({"proc/self/cgroup": names, **files})) == (1024, 2048)


@pytest.mark.parametrize("text", ["", "nonsense", "MemTotal: many kB\n"])
def test_a_system_that_does_not_tell(root, text):
    assert free_and_total_memory(root({"proc/meminfo": text})) is None


HUGE = {
    "one Dense": lambda: mg.Sequential([mg.Dense(10**12)], (100,)),
    "beyond 64 bits": lambda: mg.Sequential([mg.Dense(10**30)], (10**9,)),
    "many inputs": lambda: mg.Sequential([mg.Dense(1)], (10**15,)),
    "a convolution": lambda: mg.Sequential([mg.Conv2d(10**12, 4)], (28, 28, 1)),
    "a normalised one": lambda: mg.Sequential([mg.Conv2d(10**14, 4), mg.BatchNorm()], (28, 28, 1)),
    "a wide dcgan": lambda: mg.models.dcgan(width=10**12),
    "a dcgan of huge images": lambda: mg.models.dcgan(image_shape=(10**9, 10**9, 3)),
    "a wide mlp": lambda: mg.models.mlp(hidden=[10**9, 10**9]),
    "a long z": lambda: mg.models.mlp(latent_dim=10**16),
}


@pytest.mark.parametrize("told", [True, False], ids=["memory known", "memory unknown"])
@pytest.mark.parametrize("name", HUGE)
def test_a_huge_network_is_refused_before_it_is_allocated(name, told, monkeypatch):
    if not told:
        monkeypatch.setattr(machine, "free_and_total_memory", lambda: None)
    with pytest.raises(DeviceMemoryError) as caught:
        HUGE[name]()
    assert re.match(
        r"a network of [\d,]+ parameters needs about .* GiB, and .* GiB are free: choose smaller", str(caught.value)
    )
    assert len(str(caught.value)) <= 300


def test_what_fits_is_not_refused(monkeypatch):
    monkeypatch.setattr(machine, "free_and_total_memory", lambda: (100.0, 200.0))
    Machine().require_memory(100 * 2**20, "x")
    Machine().require_memory(150 * 2**20, "x", least=99 * 2**20)
    for size, least in ((101 * 2**20, None), (300 * 2**20, 101 * 2**20)):
        with pytest.raises(MiniganError, match=r"x needs about 0\.[13] GiB, and 0\.1 GiB are free: do less"):
            Machine().require_memory(size, "x", "do less", least)


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
