"""What one host thread was doing, instant by instant: a walk over its nested spans, and the cause that each nesting stands for.

The innermost span decides, except inside a compilation, a guard check or an overhead event of the profiler: these stand for all
that they contain. Only time inside an operator or a runtime call is launch-bound; Python around them has labels of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from profiler.metrics import classes
from profiler.metrics import host_spans as kinds
from profiler.metrics.window_pattern import REGION

GRAPH_BREAK, GUARDS, RECOMPILATION = "graph break", "guard check and cache lookup", "recompilation"
HOST_WAIT, ALLOCATION, PAGEABLE_COPY = "host wait", "allocator", "copy from pageable memory"
LAUNCH_EAGER, LAUNCH_COMPILED = "launch-bound: eager", "launch-bound: compiled"
PYTHON_IN_REGION, PYTHON_BETWEEN = "Python in a compiled region", "Python between operators"
AFTER_PAUSE = "after a pause in Python"
PROFILER_OVERHEAD = "profiler overhead"

_HOLDING_UP = frozenset({kinds.WAIT, kinds.ALLOCATOR, kinds.PAGEABLE})
_STICKY = frozenset({PROFILER_OVERHEAD, RECOMPILATION, GUARDS})


@dataclass(frozen=True)
class State:
    """What the nesting of spans at one instant stands for.

    Args:
        label, detail: the cause; for a CPU's busy time the class and the operator.
        region: compile id of the innermost compiled region, or empty.
        graph: inside a compiled graph.
        broken: which graph break the innermost region holds, or empty; `resumed` once its compiled part is over.
        chain: operators from the outermost to the innermost, up to the innermost region.
    """

    label: str = PYTHON_BETWEEN
    detail: str = ""
    region: str = ""
    graph: bool = False
    broken: str = ""
    resumed: bool = False
    chain: tuple[str, ...] = ()
    busy: bool = False


IDLE = State()
Span = tuple[str, str, int, int, str, str | None]
"""kind, name, start and end in ns, note, input types."""


def enter(parent: State, kind: str, name: str, note: str, types: str | None, cpu: bool) -> State:
    """The state inside a span; `cpu`: the host's operators are the busy time."""
    if kind == kinds.OVERHEAD:
        return replace(parent, label=PROFILER_OVERHEAD, detail=name, busy=False)
    if parent.label in _STICKY or kind in (kinds.NEUTRAL, kinds.RESUME):
        return parent
    if kind in _OF_DYNAMO:
        return _in_dynamo(parent, kind, name, note, cpu)
    return _in_call(parent, kind, name, note, types, cpu)


_OF_DYNAMO = frozenset({kinds.COMPILE, kinds.GUARD, kinds.REGION_KIND, kinds.GRAPH, kinds.PROLOGUE})


def _in_dynamo(parent: State, kind: str, name: str, note: str, cpu: bool) -> State:
    if kind == kinds.COMPILE:
        return replace(parent, label=RECOMPILATION, detail=note, busy=False)
    if kind == kinds.GUARD:
        return replace(parent, label=GUARDS, detail=note or parent.region, busy=False)
    if kind == kinds.REGION_KIND:
        return _in_region(State(region=name.removeprefix(REGION), broken=note))
    if kind == kinds.GRAPH and cpu:
        return replace(parent, graph=True, label=classes.COMPILED_REGION, detail=REGION + parent.region, busy=True)
    return _in_region(replace(parent, graph=kind == kinds.GRAPH))


def after_graph(state: State) -> State:
    """The state of a region once its compiled part is over."""
    return _in_region(replace(state, resumed=True)) if state.broken and not state.resumed else state


def _in_region(state: State) -> State:
    if state.resumed and not state.graph:
        return replace(state, label=GRAPH_BREAK, detail=state.broken)
    return replace(state, label=PYTHON_IN_REGION, detail=state.region)


def _in_call(parent: State, kind: str, name: str, note: str, types: str | None, cpu: bool) -> State:
    if kind == kinds.OP:
        inside = replace(parent, chain=(*parent.chain, name))
        if cpu:
            return replace(inside, label=classes.classify_cpu(name, types), detail=name, busy=True)
        return _launching(inside, name)
    if kind == kinds.ALLOCATOR:
        return replace(parent, label=ALLOCATION, detail=name)
    if kind == kinds.PAGEABLE or (kind == kinds.WAIT and _from_pageable(note)):
        return replace(parent, label=PAGEABLE_COPY, detail=_site(parent, name))
    if kind == kinds.WAIT:
        return replace(parent, label=HOST_WAIT, detail=_site(parent, name))
    return _launching(parent, name)


def _launching(state: State, name: str) -> State:
    if state.resumed and not state.graph:
        return replace(state, label=GRAPH_BREAK, detail=state.broken)
    if state.region:
        return replace(state, label=LAUNCH_COMPILED, detail=state.region)
    return replace(state, label=LAUNCH_EAGER, detail=state.chain[0] if state.chain else name)


def _from_pageable(copy: str) -> bool:
    return "HtoD" in copy and "Pageable" in copy


# Operators that only pass a wait on to the one below: the one that the program called says more.
_PASSED_ON = {"aten::_local_scalar_dense": "aten::item", "aten::_to_copy": "aten::to", "aten::copy_": "aten::_to_copy"}


def _site(state: State, call: str) -> str:
    """`aten::item in aten::linear`: the operator that waits, in the outermost one or the region around it."""
    chain = list(state.chain) or [call]
    while len(chain) > 1 and _PASSED_ON.get(chain[-1]) == chain[-2]:
        chain.pop()
    around = chain[0] if len(chain) > 1 else f"region {state.region}" if state.region else ""
    return f"{chain[-1]} in {around}" if around else chain[-1]


@dataclass
class Pieces:
    """Stretches of time with a state, as columns."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    hosts: list[int | None] = field(default_factory=list)

    def add(self, start: int, end: int, state: int, host: int | None) -> None:
        """One stretch, in ns; `host` is the start of the host span that it is laid to."""
        self.starts.append(start)
        self.ends.append(end)
        self.states.append(state)
        self.hosts.append(host)


class States:
    """Every state that occurs, numbered."""

    def __init__(self, cpu: bool) -> None:
        self.all: list[State] = [IDLE]
        self._cpu = cpu
        self._numbers: dict[State, int] = {IDLE: 0}
        self._entered: dict[tuple[int, str, str, str, str | None], int] = {}

    def number(self, state: State) -> int:
        """The number of a state, new or known."""
        if state not in self._numbers:
            self._numbers[state] = len(self.all)
            self.all.append(state)
        return self._numbers[state]

    def enter(self, parent: int, kind: str, name: str, note: str, types: str | None) -> int:
        """`enter` by number."""
        key = (parent, kind, name, note, types)
        if key not in self._entered:
            self._entered[key] = self.number(enter(self.all[parent], kind, name, note, types, self._cpu))
        return self._entered[key]

    def after_graph(self, state: int) -> int:
        """`after_graph` by number."""
        return self.number(after_graph(self.all[state]))


class Walk:
    """Goes through one thread's spans and notes the state of every wanted stretch.

    Args:
        states: where states are numbered.
        wanted: stretches (start, end) in ns, sorted and disjoint; what lies outside is not noted.
    """

    def __init__(self, states: States, wanted: Sequence[tuple[int, int]]) -> None:
        self.pieces = Pieces()
        self.waits: dict[int, int] = {}
        self._states = states
        self._wanted = wanted
        self._next = 0
        self._clock = wanted[0][0] if wanted else 0
        # end, state, start, kind
        self._open: list[tuple[int, int, int | None, str]] = []

    def run(self, spans: Iterable[Span]) -> None:
        """Spans in order of start, of two with one start the longer first. Fills `pieces`, and `waits`: start of what holds
        the host up to its state."""
        for kind, name, start, end, note, types in spans:
            self._until(start)
            parent = self._open[-1][1] if self._open else 0
            if kind in (kinds.GUARD, kinds.REGION_KIND) and name != "Pregraph bytecode":
                parent = self._resume()
            state = self._states.enter(parent, kind, name, note, types)
            if kind in _HOLDING_UP:
                self.waits[start] = state
            above = self._open[-1][2] if self._open else None
            self._open.append((end, state, above if state == parent else start, kind))
        self._until(max([end for end, *_ in self._open], default=0))
        self._note(self._wanted[-1][1] if self._wanted else 0)

    def _until(self, now: int) -> None:
        """Close the spans that end by `now`."""
        while self._open and self._open[-1][0] <= now:
            end, _, _, kind = self._open[-1]
            self._note(end)
            self._open.pop()
            if kind == kinds.GRAPH:
                self._resume()
        self._note(now)

    def _resume(self) -> int:
        """The compiled part of the innermost open region is over: change its state; returns the innermost state."""
        for depth in range(len(self._open) - 1, -1, -1):
            end, state, start, kind = self._open[depth]
            if kind == kinds.REGION_KIND:
                self._open[depth] = (end, self._states.after_graph(state), start, kind)
            if kind not in (kinds.RESUME, kinds.NEUTRAL):
                break
        return self._open[-1][1] if self._open else 0

    def _note(self, now: int) -> None:
        """Note the innermost state from the clock to `now`, where it is wanted."""
        _, state, host, _ = self._open[-1] if self._open else (0, 0, None, "")
        while self._next < len(self._wanted) and self._wanted[self._next][0] < now:
            start, end = self._wanted[self._next]
            begin, until = max(start, self._clock), min(end, now)
            if until > begin:
                self.pieces.add(begin, until, state, host)
            if end > now:
                break
            self._next += 1
        self._clock = max(self._clock, now)
