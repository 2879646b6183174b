"""Each ledger row is granted to one finding, so that two findings never count the same microsecond."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from profiler.core.finding import LOW, Finding, severity

Price = tuple[float, float]
"""Untraced ns of a ledger row, and the least that it can be (0 for idle time where no untraced time is known)."""


@dataclass
class Granted:
    """A finding with the ledger rows that are its own. Times are untraced nanoseconds a repeat of its window."""

    finding: Finding
    rows: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    # What it claimed and others were granted, by their rule.
    elsewhere_ns: dict[str, float] = field(default_factory=dict)
    cost_ns: float = 0.0
    saving_low_ns: float = 0.0
    saving_high_ns: float = 0.0
    share: float = 0.0
    severity: str = "low"
    per_call_ns: float = 0.0
    # Whether untraced calls differ by more than the saving is known to.
    noisy: bool = False


def grant(
    findings: Sequence[tuple[int, Finding]],
    prices: Mapping[str, Mapping[str, Price]],
    windows: Mapping[str, tuple[float, float]],
    call_ns: float = 0.0,
    noise: float = 0.0,
) -> list[Granted]:
    """Grant rows by rule priority, then by the size of the claim.

    Args:
        findings: (rule priority, finding).
        prices: window name -> ledger row id -> what it costs a repeat.
        windows: window name -> (untraced ns of a repeat, repeats a pipeline call).
        call_ns: untraced ns of a pipeline call at the spec's steps: what a window that comes once in it is a part of.
        noise: share of a window by which untraced calls differ: no saving is known better.

    Returns:
        One entry a finding, in order of what it costs a pipeline call; after them what happens once, ranked among itself.
    """

    def claimed(finding: Finding) -> float:
        return _sum(prices.get(finding.window, {}), finding.claims)[0] + finding.cost_ns

    taken: dict[tuple[str, str], Granted] = {}
    result = []
    for _, finding in sorted(findings, key=lambda each: (each[0], -claimed(each[1]))):
        granted = Granted(finding)
        for row in dict.fromkeys(finding.claims):
            owner = taken.get((finding.window, row))
            if owner is None:
                taken[finding.window, row] = granted
                granted.rows.append(row)
            else:
                _share(owner, granted, prices.get(finding.window, {}).get(row, (0.0, 0.0))[0])
        _price(granted, prices.get(finding.window, {}), windows.get(finding.window, (0.0, 1.0)), call_ns)
        _widen(granted, noise * windows.get(finding.window, (0.0, 1.0))[0])
        # Where others own all that it claims, it is named under their `also` and is no finding of its own.
        if granted.rows or not finding.claims or granted.cost_ns:
            result.append(granted)
    return sorted(result, key=lambda each: (each.finding.once, -each.per_call_ns, -each.saving_high_ns))


def _share(owner: Granted, other: Granted, cost_ns: float) -> None:
    """A row that two findings claim: the owner names the other, the other knows what it did not get."""
    if other.finding.rule not in owner.also:
        owner.also.append(other.finding.rule)
    rule = owner.finding.rule
    other.elsewhere_ns[rule] = other.elsewhere_ns.get(rule, 0.0) + cost_ns


def _sum(prices: Mapping[str, Price], rows: Iterable[str]) -> Price:
    found = [prices.get(row, (0.0, 0.0)) for row in dict.fromkeys(rows)]
    return sum(each[0] for each in found), sum(each[1] for each in found)


def _widen(granted: Granted, noise_ns: float) -> None:
    """A saving is known to half the noise at best; the severity goes by what was priced."""
    saving = granted.saving_high_ns - granted.saving_low_ns
    if not granted.finding.once and granted.cost_ns and saving < noise_ns:
        middle = (granted.saving_low_ns + granted.saving_high_ns) / 2
        granted.saving_low_ns, granted.saving_high_ns = max(0.0, middle - noise_ns / 2), middle + noise_ns / 2
        granted.noisy = noise_ns > granted.cost_ns


def _price(granted: Granted, prices: Mapping[str, Price], window: tuple[float, float], call_ns: float) -> None:
    finding, (dur_ns, repeats) = granted.finding, window
    saving = finding.saving
    cost_ns, least_ns = _sum(prices, granted.rows)
    granted.cost_ns = cost_ns + finding.cost_ns
    granted.saving_low_ns = (least_ns + finding.cost_ns) * saving.share_low + saving.extra_low_ns
    granted.saving_high_ns = granted.cost_ns * saving.share_high + saving.extra_high_ns
    # What happens once is no share of a window: it ranks in a list of its own.
    granted.share = granted.cost_ns / dur_ns if dur_ns and not finding.once else 0.0
    # Half of a decode that is a hundredth of the call is nothing to be alarmed by.
    whole_ns = dur_ns if repeats > 1 else max(dur_ns, call_ns)
    granted.severity = LOW if finding.once else severity(granted.saving_low_ns, whole_ns)
    granted.per_call_ns = granted.cost_ns * (1.0 if finding.once else repeats)
