"""The clinic's answers for people."""

from __future__ import annotations

from typing import Any


def render_list(faults: list[dict[str, Any]]) -> str:
    """One line a fault."""
    width = max(len(each["fault"]) for each in faults)
    return "\n".join(f"{each['fault']:<{width}}  {each['summary']}{' (CUDA)' if each['needs_cuda'] else ''}" for each in faults)


def render(answer: dict[str, Any]) -> str:
    """What was planted, what was found first, what it promised and what the fix saved."""
    expected = " or ".join(answer["expects"]) or "nothing of severity high or more"
    lines = [
        f"planted    {answer['summary']}" + (f"  at {answer['planted']}" if answer["planted"] else ""),
        f"expected   {expected}",
        f"found      {answer['title'] or 'nothing'}" + (f"  [{answer['found']}]" if answer["found"] else ""),
    ]
    if answer["where"]:
        lines.append(f"at         {answer['where']}")
    lines += [f"rule       {_word(answer['right'])}", f"place      {_word(answer['place_right'])}"]
    if answer["saving_low_ms"] is not None:
        lines.append(f"predicted  {answer['saving_low_ms']:.2f} to {answer['saving_high_ms']:.2f} ms a call")
    if answer["real_ms"] is not None:
        lines.append(f"real       {answer['real_ms']:.2f} ms a call (with the fault minus without)")
    if answer["others"]:
        lines.append(f"also       {', '.join(answer['others'])}")
    lines += [f"fix        {answer['fix']}", f"runs       {answer['runs']}"]
    return "\n".join(lines)


def _word(value: bool | None) -> str:
    return "none expected" if value is None else "right" if value else "WRONG"
