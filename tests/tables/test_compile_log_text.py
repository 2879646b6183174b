"""dynamo's prose taken apart, in the words of several versions of torch."""

from __future__ import annotations

import pytest

from profiler.tables.compile_log_text import Frame, parse_break, parse_guard, parse_reason

OLD = """Graph break in user code at model.py:7
Reason: Unsupported: call_function BuiltinVariable(print) [ConstantVariable()] {}
User code traceback:
  File "model.py", line 9, in <module>
    f(x)
  File "model.py", line 7, in f
    print("x")
"""

SKIPPED = """Graph break: torch.compile cannot properly resume from this graph break, which results in a skip.
torch.compile will skip tracing the frame f (model.py line 5) and fall back to eager.
The graph break occurred in the following user code:
  File "model.py", line 7, in f
    torch._dynamo.graph_break()

Traceback (most recent call last):
  File "torch/_dynamo/x.py", line 3, in step
    raise
torch._dynamo.exc.Unsupported: Call to `torch._dynamo.graph_break()`
  Explanation: User-inserted graph break.
  Hint: Remove it.

  Developer debug context: Called with args ()

 For more details about this graph break, please visit: https://example.org/gb/gb0025.html
"""


def test_a_break_of_torch_before_registry_ids():
    found = parse_break(OLD)
    assert found.cause.gb_id is None
    assert found.cause.title == "Unsupported: call_function BuiltinVariable(print) [ConstantVariable()] {}"
    assert found.stack == [Frame("model.py", 9, "<module>", "f(x)"), Frame("model.py", 7, "f", 'print("x")')]
    assert (found.skips_frame, found.skip) == (False, None)


def test_a_skipped_frame_names_its_cause_from_the_exception():
    found = parse_break(SKIPPED)
    assert found.skips_frame
    assert found.cause.title == "Call to `torch._dynamo.graph_break()`"
    assert (found.cause.explanation, found.cause.hints) == ("User-inserted graph break.", ["Remove it."])
    assert found.stack == [Frame("model.py", 7, "f", "torch._dynamo.graph_break()")]


@pytest.mark.parametrize(
    "text", ["", "\n", "nonsense", "Graph Break Reason:", 'File "x", line 1', "Traceback (most recent call last):"]
)
def test_any_text_gives_a_break(text: str):
    assert parse_break(text).stack == []


def test_a_break_without_a_stack_has_the_place_of_its_headline():
    assert parse_break("Graph break in user code at model.py:7\nGraph Break Reason: something").stack == [
        Frame("model.py", 7, "")
    ]


def test_a_reason_has_its_own_parts():
    reason = parse_reason(
        "Title\n  Explanation: one\n    two\n  Hint: a\n  Hint: b\n  Developer debug context: c\n\n For more details about this "
        "graph break, please visit: https://x/gb/gb7.html"
    )
    assert (reason.gb_id, reason.title, reason.explanation) == ("GB0007", "Title", "one two")
    assert (reason.hints, reason.context) == (["a", "b"], "c")


@pytest.mark.parametrize(
    ("text", "guard", "before", "now"),
    [
        (
            "6/0: tensor 'k['hidden_states']' stride mismatch at index 0. expected 12582912, actual 14155776",
            "tensor 'k['hidden_states']' stride mismatch at index 0",
            "12582912",
            "14155776",
        ),
        (
            "0/0: tensor 'x' requires_grad mismatch. expected requires_grad=0",
            "tensor 'x' requires_grad mismatch",
            "requires_grad=0",
            None,
        ),
        ("0/0: tensor 'x' rank mismatch. expected 2, actual 3", "tensor 'x' rank mismatch", "2", "3"),
        ("0/0: tensor 'x' dtype mismatch. expected Float, actual Double", "tensor 'x' dtype mismatch", "Float", "Double"),
        ("2/1: len(args) == 3      # for a in args:  # model.py:3 in f", "len(args)", "3", None),
        ("5/1: 'NoneType' object has no attribute 'size'", "'NoneType' object has no attribute 'size'", None, None),
        ("not a guard at all", "not a guard at all", None, None),
        ("", "", None, None),
    ],
)
def test_a_guard_tells_what_it_wanted_and_what_came(text: str, guard: str, before: str | None, now: str | None):
    found = parse_guard(text)
    assert (found.guard, found.before, found.now) == (guard, before, now)


def test_a_guard_tells_where_it_was_made_and_torchs_hint():
    found = parse_guard(
        "7/0: self.k == 0       # return x * self.k  # odel.py:39 in forward (HINT: make it a tensor.)\n"
        'User stack trace:\n  File "model.py", line 39, in forward\n    return x * self.k'
    )
    assert (found.guard, found.before, found.hint) == ("self.k", "0", "make it a tensor.")
    assert found.place == Frame("model.py", 39, "forward", "return x * self.k")
