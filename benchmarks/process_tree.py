"""CPU time and memory of a process and its descendants, from ``/proc``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["TICKS_A_SECOND", "cpu_s", "memory_kb", "processes_of"]

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_TRIES = 10


def processes_of(root: int) -> list[int]:
    """Return a process and all of its living descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat_of(int(entry))):
            parents[int(entry)] = int(fields[1])
    family = [root]
    for member in family:
        family.extend(pid for pid, parent in parents.items() if parent == member)
    return family


def stat_of(pid: int) -> list[str]:
    """Return a process's status fields from the third on; empty if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name, in brackets, may hold anything.
    return text.rpartition(")")[2].split()


def cpu_s(root: int) -> float:
    """Return the CPU time of a process, its living descendants, and its ended children."""
    used_s = 0.0
    for _ in range(_TRIES):
        family = processes_of(root)
        used_s = 0.0
        for pid in family:
            if fields := stat_of(pid):
                user, system, *dead = (int(field) for field in fields[11:15])
                exact_s = run_s(pid)
                used_s += sum(dead) / TICKS_A_SECOND
                used_s += (user + system) / TICKS_A_SECOND if exact_s is None else exact_s
        # A process that ends in between is counted twice, or not at all.
        if processes_of(root) == family:
            break
    return used_s


def run_s(pid: int) -> float | None:
    """Return the exact CPU time of a process's threads, or None without CONFIG_SCHEDSTATS.

    The usual counter has steps of 10 ms, which is too coarse for hundreds of processes.
    """
    try:
        tasks = [f"/proc/{pid}/task/{task}" for task in os.listdir(f"/proc/{pid}/task")]
        texts = [Path(task, "schedstat").read_text(encoding="ascii") for task in tasks]
    except OSError:
        return None
    return sum(int(text.split()[0]) for text in texts) / 1e9


def memory_kb(root: int) -> int:
    """Return the proportional memory (PSS) of a process and its descendants.

    Memory that processes share counts once, also for a server that forks.
    """
    total = 0
    for pid in processes_of(root):
        with contextlib.suppress(OSError):  # it has just gone
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total
