"""Lines of a budget about the output, against the base's."""

from __future__ import annotations

import math
from collections.abc import Callable

from profiler.metrics.quality import Level, psnr
from profiler.report.budget_measure import Measured, Subject
from profiler.report.budget_time import NO_BASE


def sqnr_of(tensor: str) -> Callable[[Subject], Measured]:
    """SQNR of one of `quality.TENSORS`, in dB."""

    def measure(subject: Subject) -> Measured:
        return _measured(subject.sqnr[tensor]) if subject.base else Measured(None, NO_BASE)

    return measure


def picture(subject: Subject) -> Measured:
    """PSNR of the picture, in dB."""
    return _measured(psnr(subject.run, subject.base)) if subject.base else Measured(None, NO_BASE)


def _measured(level: Level) -> Measured:
    return Measured(level.db, "equal to the bit" if level.db == math.inf else level.why)
