"""Traces of several ranks by hand: computation on one stream, NCCL kernels on another, with all that a reader must find known.

A step of each rank is `layers` times: a kernel of `compute_us` (`slow_us` longer on the slow rank), an all-reduce that nothing
hides and that moves data for `exposed_us` once the last rank has come, and an all-gather of `hidden_us` beside a kernel that is
twice as long. Before each step the device idles for `gap_us`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BASE_NS = 1_790_000_000_000_000_000
COMPUTE, BESIDE, NORM = "nvjet_sm90_tst_1", "nvjet_sm90_tst_2", "void RowwiseMoments"
REDUCE, GATHER = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(args)", "ncclDevKernel_AllGather_RING_LL(args)"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What the traces hold; times in us. `clock_us`: by rank, how far its clock is ahead."""

    world: int = 4
    steps: int = 3
    layers: int = 4
    compute_us: int = 1000
    exposed_us: int = 100
    hidden_us: int = 150
    gap_us: int = 50
    slow_us: Mapping[int, int] = field(default_factory=dict)
    clock_us: Mapping[int, int] = field(default_factory=dict)
    hosts: Mapping[int, str] = field(default_factory=dict)
    numbered: bool = True

    def computed_us(self, rank: int) -> int:
        """What a rank computes in a step."""
        return self.layers * (self.compute_us + self.slow_us.get(rank, 0) + 2 * self.hidden_us)

    def waited_us(self, rank: int) -> int:
        """What a rank waits in a step, where the same rank is the slowest in every layer."""
        return self.layers * (max(self.slow_us.values(), default=0) - self.slow_us.get(rank, 0))

    @property
    def step_us(self) -> int:
        """A step, on every rank."""
        slowest = max(range(self.world), key=self.computed_us)
        return self.gap_us + self.computed_us(slowest) + self.layers * self.exposed_us


class _Rank:
    """One rank's events as they are made; its clock is `at`."""

    def __init__(self, planted: Planted, rank: int) -> None:
        self.planted, self.rank, self.at = planted, rank, 10_000
        self.events: list[dict[str, Any]] = []
        self.launched = 0

    def kernel(self, name: str, start: int, end: int, stream: int, **more: Any) -> None:
        self.launched += 1
        host = self.began + self.launched % 97 / 8
        args = {"correlation": self.launched, "stream": stream, "device": 0} | more
        self.span("cudaLaunchKernel", "cuda_runtime", host, host + 0.1, 1, {"correlation": self.launched})
        self.span(name, "kernel", start, end, stream, args)

    def collective(self, name: str, kind: str, number: int, start: int, end: int) -> None:
        ranks = list(range(self.planted.world))
        known = {"Collective name": kind, "Process Group Name": "0", "Process Group Ranks": ranks, "Group size": len(ranks)}
        self.kernel(name, start, end, 20, **(known | {"Seq": number} if self.planted.numbered else {}))

    def span(self, name: str, cat: str, start: float, end: float, tid: int, args: dict[str, Any]) -> None:
        ahead = self.planted.clock_us.get(self.rank, 0)
        where = {"pid": 0 if cat == "kernel" else 1000 + self.rank, "tid": tid}
        self.events.append(
            {"ph": "X", "cat": cat, "name": name, **where, "ts": start + ahead, "dur": round(end - start, 3), "args": args}
        )


def ranks_of(planted: Planted) -> list[dict[str, Any]]:
    """The traces, by rank, as JSON."""
    ranks = [_Rank(planted, rank) for rank in range(planted.world)]
    number = 0
    for step in range(planted.steps):
        for each in ranks:
            each.began = each.at + planted.gap_us - 20
            each.first = each.at
            each.at += planted.gap_us
        for _ in range(planted.layers):
            _layer(planted, ranks, number)
            number += 2
        for each in ranks:
            each.span(f"ProfilerStep#{step}", "user_annotation", each.first, each.at, 1, {})
            each.span("aten::mm", "cpu_op", each.began - 5, each.began + 15, 1, {"External id": step})
    return [_trace(planted, each) for each in ranks]


def _layer(planted: Planted, ranks: list[_Rank], number: int) -> None:
    for each in ranks:
        done = each.at + planted.compute_us + planted.slow_us.get(each.rank, 0)
        each.kernel(COMPUTE, each.at, done, 7)
        each.at = done
    end = max(each.at for each in ranks) + planted.exposed_us
    for each in ranks:
        each.collective(REDUCE, "allreduce", number, each.at, end)
        each.kernel(BESIDE, end, end + 2 * planted.hidden_us, 7)
        each.collective(GATHER, "_allgather_base", number + 1, end, end + planted.hidden_us)
        each.at = end + 2 * planted.hidden_us


def _trace(planted: Planted, each: _Rank) -> dict[str, Any]:
    about = {"backend": "nccl", "rank": each.rank, "world_size": planted.world}
    host = {"host_name": planted.hosts[each.rank]} if each.rank in planted.hosts else {}
    device = [{"id": 0, "name": "NVIDIA H100 80GB HBM3", "computeMajor": 9, "computeMinor": 0}]
    head = {"schemaVersion": 1, "deviceProperties": device, "distributedInfo": about, **host, "baseTimeNanoseconds": BASE_NS}
    return head | {"traceEvents": each.events}


def write(folder: Path, planted: Planted, name: str = "host_{rank}.pt.trace.json.gz") -> list[Path]:
    """One file a rank; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(rank=rank) for rank in range(planted.world)]
    for path, trace in zip(paths, ranks_of(planted), strict=True):
        text = json.dumps(trace).encode()
        path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)
    return paths
