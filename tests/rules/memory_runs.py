"""Calls by hand whose memory is known to the byte, and what the diagnosis of them says about memory."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics" / "memory"))

from memory_tape import BLOCK, CONV, MIB, T5, Tape, phase, weight, write_run

from profiler.report.diagnose import diagnose

A = 0x7F0000000000
_END_US = 9_000_000
PLACED = {"text_encoder_2": 40, "transformer": 100, "vae": 10}
_TWO = {"dtype": "bfloat16"}


class Call:
    """One call: text encoding, steps, decoding; sizes in MiB. Weights lie one behind the other from `A`.

    Args:
        weights: MiB by component.
        text, step, decode: what each window holds while it lasts.
        leak: bytes that every step leaves behind.
        marked: whether the call's windows are; an imported snapshot has none.
        extra: MiB of the device that are reserved beside what is used, in a segment of their own.
    """

    def __init__(self, weights=None, *, text=5, step=8, decode=30, steps=3, leak=0, extra=0, marked=True):
        self.tape, self.listed, self._next = Tape(), [], A
        self.tape.segment(A, 512 * MIB)
        if extra:
            self.tape.segment(A + 1024 * MIB, extra * MIB)
        for component, size in (PLACED if weights is None else weights).items():
            self.listed.append(weight(self._held(size * MIB), size * MIB, "linear.weight", component))
        self.marked = marked
        self._mark("call", "START")
        self._window("text", text, T5)
        for number in range(steps):
            self._window(f"step/{number}", step, BLOCK, leak)
        self._window("decode", decode, CONV)
        self._mark("call", "END")

    def _mark(self, name, stage):
        if self.marked:
            self.tape.mark(name, stage)

    def _take(self, size):
        address, self._next = self._next, self._next + -(-size // 512) * 512
        return address

    def _held(self, size):
        address = self._take(size)
        self.tape.held(address, size)
        return address

    def _window(self, name, size, stack, leak=0):
        self._mark(name, "START")
        address = self._take(size * MIB)
        self.tape.alloc(address, size * MIB, stack)
        if leak:
            self.tape.alloc(self._take(leak), leak, stack)
        self.tape.free(address)
        if not leak:
            self._next = address
        self._mark(name, "END")

    def write(self, folder, **manifest):
        """The run directory, with a memory phase around the call."""
        manifest.setdefault("phases", [phase("memory", 0, _END_US)])
        return write_run(folder, self.tape, weights=self.listed, **manifest)


def found(run, rule):
    """The memory findings of one rule in the whole diagnosis, as granted."""
    report = diagnose(run)
    assert not [why for _, why in report.not_checked if "failed" in why]
    return [each for each in report.memory.granted if each.finding.rule == rule]


def only(run, rule):
    """The one finding of a rule."""
    (each,) = found(run, rule)
    return each


def not_checked(run):
    """Why rules were not checked, by their names."""
    return dict(diagnose(run).not_checked)
