"""What a reader could not read: counted by reason, never silent."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Losses:
    """Events lost, by reason."""

    counts: dict[str, int] = field(default_factory=dict)
    truncated: bool = False

    def add(self, why: str, count: int = 1) -> None:
        """Count `count` more events lost because of `why`."""
        if count:
            self.counts[why] = self.counts.get(why, 0) + count

    def cut(self, why: str) -> None:
        """Note that the input ends early: one event at least is gone, how many more nobody knows. Noted once an input."""
        if not self.truncated:
            self.truncated = True
            self.add(f"{why}; what came after is unknown")

    @property
    def total(self) -> int:
        """Every event lost."""
        return sum(self.counts.values())
