"""How many threads: the decision, what it is read from, and that it is carried out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.runtime import threads
from frown.runtime.threads import TINY, Threads, busy_cores, cpu_quota, decide, own_cores

machines = st.integers(1, 256).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "cores": st.just(n),
            "busy": st.floats(0, n),
            "quota": st.none() | st.floats(0.01, 300),
            "parameters": st.integers(0, 10**12),
        }
    )
)


@given(machines, st.sampled_from([None, "", "many", "0", "-2"]))
def test_never_none_never_more_than_there_are(machine, asked):
    count = decide(asked=asked, **machine).number
    assert 1 <= count <= machine["cores"]
    assert count <= max(1, machine["quota"] or machine["cores"])
    assert count == 1 or count <= machine["cores"] - machine["busy"] + 0.2
    if machine["parameters"] < TINY:
        assert count == 1


@given(machines, st.integers(1, 512))
def test_what_was_asked_for_wins(machine, n):
    for text in (str(n), f" {n} ", f"{n},2"):
        assert decide(asked=text, **machine) == Threads(n, f"OMP_NUM_THREADS={text}")


@pytest.mark.parametrize(
    ("cores", "quota", "busy", "count"),
    [(8, None, 0.0, 8), (8, None, 0.08, 8), (8, None, 1.0, 7), (8, None, 7.9, 1), (8, None, 8.0, 1), (2, None, 0.5, 1),
     (8, 2.5, 0.0, 2), (8, 0.5, 0.0, 1), (8, 6.0, 4.0, 4), (1, None, 0.0, 1)],
)  # fmt: skip
def test_a_large_model_gets_what_is_free(cores, quota, busy, count):
    found = decide(asked=None, cores=cores, quota=quota, busy=busy, parameters=10**9)
    assert found.number == count
    assert str(found).startswith(f"{count}: ") and f"of {cores} cores" in found.why


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "4:memory:/job\n2:cpu,cpuacct:/job/7\n1:cpuset:/\n"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        # The least of a group and those it is in.
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
          "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 2.0),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
          "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n"}, 0.5),
        # A path that only the host can see.
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu,cpuacct/job/7/cpu.cfs_quota_us": "-1\n",
          "sys/fs/cgroup/cpu,cpuacct/job/7/cpu.cfs_period_us": "100000\n"}, None),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu,cpuacct/job/7/cpu.cfs_quota_us": "400000\n",
          "sys/fs/cgroup/cpu,cpuacct/job/7/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"proc/self/cgroup": "1:cpu:/\n0::/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000\n",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000\n"}, 0.5),
    ],
)  # fmt: skip
def test_quotas_of_both_kinds_of_control_group(files, quota, tmp_path):
    assert cpu_quota(written(tmp_path, files)) == quota


def stat(*cores: tuple[int, int, int]) -> str:
    """As the kernel writes it: user, idle and waiting ticks of each core."""
    lines = [f"cpu{i} {user} 0 0 {idle} {wait} 0 0 0 0 0" for i, (user, idle, wait) in enumerate(cores)]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 12 0", "ctxt 5"]) + "\n"


def test_busy_cores_are_counted_among_ones_own(tmp_path, monkeypatch):
    before, after = stat((100, 100, 0), (100, 100, 0), (50, 0, 0)), stat((125, 100, 0), (110, 110, 5), (75, 0, 0))
    written(tmp_path, {"proc/stat": before})
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: written(tmp_path, {"proc/stat": after}))
    for cores, busy in [({0, 1}, 1.4), ({1}, 0.4), ({0, 1, 2}, 2.4), ({7}, 0.0)]:
        written(tmp_path, {"proc/stat": before})
        assert busy_cores(frozenset(cores), tmp_path) == pytest.approx(busy)
    assert busy_cores(frozenset({0}), tmp_path / "nowhere") == 0.0


def test_this_machine_can_be_read():
    cores = own_cores()
    assert cores and 0.0 <= busy_cores(cores, moment=0.02) <= len(cores)
    quota = cpu_quota()
    assert quota is None or quota > 0
