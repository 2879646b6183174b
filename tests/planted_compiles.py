"""The program of a child process: planted graph breaks and recompiles. Argument: where to write a trace of its last calls."""

from __future__ import annotations

import sys

import torch
from torch import _dynamo as dynamo
from torch.profiler import profile


def inner(x):
    if x.sum().item() > 1e9:  # BREAK
        x = x + 5
    return x * 2


def outer(x):
    return inner(x + 1).relu()  # CALL


def looped(x):
    for _ in range(2):
        x = x + 1
        dynamo.graph_break()  # LOOP
    return x


def shaped(x):  # SHAPED
    return x * 3


def limited(x):  # LIMITED
    return x.sin()


class Scaled(torch.nn.Module):
    def forward(self, x):
        return x * self.factor  # FACTOR


def explained_only(x):
    print("a break of explain alone")  # EXPLAINED
    return x + 1


def compiled(function):
    return torch.compile(function, backend="eager", dynamic=False)


def main(trace: str) -> None:
    dynamo.config.recompile_limit = 3
    dynamo.explain(explained_only)(torch.ones(4))
    broken = compiled(outer)
    broken(torch.ones(4))
    compiled(looped)(torch.ones(4))
    for size in (3, 4, 5):
        compiled(shaped)(torch.ones(size))
    for size in (2, 3, 4, 5, 6):
        compiled(limited)(torch.ones(size))
    scaled = Scaled()
    for scaled.factor in (0, 1, 2):
        compiled(scaled)(torch.ones(4))
    with profile() as profiled:
        for _ in range(2):
            broken(torch.ones(4))
    profiled.export_chrome_trace(trace)


if __name__ == "__main__":
    main(sys.argv[1])
