"""Logged graph breaks, read back: the first cause, its id, and the user's innermost frame."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from profiler.recording.explain_breaks import collect_breaks, parse_break

TORCH = torch.__file__.rpartition("/")[0]
ITEM = """Unsupported Tensor.item() call with capture_scalar_outputs=False
  Explanation: Dynamo does not support tracing `Tensor.item()`.
  Hint: Set one thing.
  Hint: Or another.

  Developer debug context: call_method item
"""
LINK = "\n For more details about this graph break, please visit: https://meta-pytorch.github.io/graph-break-site/gb/gb{}.html\n"
LOOP = "\n*** While handling this graph break, another graph break occurred: ***\n\ngraph break in loop\n  Explanation: a loop.\n"
STACK = '  File "/home/me/run.py", line 3, in <module>\n    f(x)\n  File "/home/me/model.py", line 10, in forward\n    x.item()\n'


def logged(reason: str, stack: str = STACK) -> str:
    before = "Failed to handle graph break gracefully. Skipping the function and falling back to eager."
    head = f"Graph break in user code at /home/me/model.py:10\nGraph Break Reason: {before} Graph break encountered:\n\n{reason}"
    return f'{head}\nUser code traceback:\n{stack}\nTraceback (most recent call last):\n  File "{TORCH}/a.py", line 1, in b\n'


def test_the_first_cause_counts_and_not_what_it_led_to():
    each = parse_break(logged(ITEM + LINK.format("0124") + LOOP + LINK.format("7000")))
    assert (each.id, each.reason) == ("GB0124", "Unsupported Tensor.item() call with capture_scalar_outputs=False")
    assert (each.file, each.line, each.function) == ("/home/me/model.py", 10, "forward")
    assert (each.explanation, each.context) == ("Dynamo does not support tracing `Tensor.item()`.", "call_method item")
    assert each.hint == "Set one thing. Or another."


def test_an_id_without_a_link_comes_from_torchs_registry():
    assert parse_break(logged(ITEM)).id == "GB0124"


def test_hints_of_the_registry_stand_in_for_those_of_the_text():
    bare = "Unsupported Tensor.item() call with capture_scalar_outputs=False\n  Explanation: none.\n"
    assert "TORCHDYNAMO_CAPTURE_SCALAR_OUTPUTS=1" in parse_break(logged(bare)).hint


def test_an_error_of_the_users_own_has_no_id():
    each = parse_break(logged("ValueError: no such mode\n"))
    assert (each.id, each.reason, each.hint) == ("", "ValueError: no such mode", "")


def test_frames_of_torch_are_not_the_users():
    inside = f'{STACK}  File "{TORCH}/nn/functional.py", line 7, in relu\n    g()\n  File "<string>", line 1, in f\n'
    assert (parse_break(logged(ITEM, inside)).file, parse_break(logged(ITEM, inside)).line) == ("/home/me/model.py", 10)


def test_a_resumed_function_has_its_own_name():
    stack = STACK.replace("in forward", "in torch_dynamo_resume_in_forward_at_8")
    assert parse_break(logged(ITEM, stack)).function == "forward"


@pytest.mark.parametrize("text", ["", "half a rec", "Graph Break Reason:", "Graph break in user code at x.py:abc"])
def test_half_a_record_is_still_a_break(text: str):
    each = parse_break(text)
    assert (each.reason, each.file, each.line) == ("graph break", "", 0)


def test_the_handler_is_gone_afterwards_and_other_records_are_no_breaks():
    logger = logging.getLogger("torch.__trace")
    before = list(logger.handlers)
    with collect_breaks() as found:
        (handler,) = [each for each in logger.handlers if each not in before]
        handler.emit(SimpleNamespace(metadata={"artifact": {"name": "recompile_reasons"}}, payload="x"))
        handler.emit(SimpleNamespace(metadata={"str": ["a", 1]}))
        for _ in range(2):
            handler.emit(SimpleNamespace(metadata={"artifact": {"name": "dynamo_graph_break_reason"}}, payload=logged(ITEM)))
    assert logger.handlers == before
    assert [each.id for each in found.values()] == ["GB0124"]
