"""What each generated kernel computes: from torch's provenance records, else from the comments in the generated code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from profiler.tables import compile_log_text as text

_PLACE = re.compile(r"^\s*# File: (.+):(\d+) in ([^,]+), code:")
_NODE = re.compile(r"^\s+(\w+)(?:: \".*?\")? = ")
_SOURCES = re.compile(r"^# (?:Topologically Sorted )?Source Nodes: \[(.*?)\]")
_KERNEL = re.compile(r"^(\w+) = async_compile\.\w+\(")
_HANDLE = re.compile(r":\d+$")


def node_places(graph: str) -> dict[str, str]:
    """`file:line function` of each node of a printed dynamo graph."""
    places: dict[str, str] = {}
    place = None
    for line in graph.splitlines():
        if found := _PLACE.match(line):
            place = f"{found[1]}:{found[2]} {found[3]}"
        elif place and (found := _NODE.match(line)):
            places[found[1]] = place
    return places


def kernels_of_code(code: str) -> Iterator[tuple[str, list[str]]]:
    """Each kernel that a generated file defines, with the graph nodes that the comment above it names."""
    nodes: list[str] = []
    for line in code.splitlines():
        if found := _SOURCES.match(line):
            nodes = [each.strip() for each in found[1].split(",") if each.strip()]
        elif found := _KERNEL.match(line):
            yield found[1], nodes
            nodes = []


def kernels_of_mapping(mapping: Any) -> Iterator[tuple[str, list[str]]]:
    """Each kernel of a node mapping, with the nodes of the traced graph behind it."""
    if not isinstance(mapping, dict):
        return
    to_nodes = _lists(mapping.get("cppCodeToPost"))
    to_traced = _lists(mapping.get("postToPre"))
    for handle, nodes in to_nodes.items():
        traced = [each for node in nodes for each in to_traced.get(node, [node])]
        yield kernel_name(handle), list(dict.fromkeys(traced))


def places_of_stacks(stacks: list[str]) -> list[str]:
    """The innermost frame of each printed stack, each once."""
    innermost = (found[-1] for found in map(text.frames, stacks) if found)
    return list(dict.fromkeys(f"{each.file}:{each.line} {each.function}" for each in innermost))


def kernel_name(handle: str) -> str:
    """A kernel's name from `name:number`, its handle."""
    return _HANDLE.sub("", handle)


def _lists(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        return {}
    return {str(key): [str(each) for each in nodes] for key, nodes in value.items() if isinstance(nodes, list)}
