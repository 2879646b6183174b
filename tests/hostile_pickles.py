"""Pickles made by hand to run code, take all memory, or crash the reader. Each one that runs code makes the file `CANARY`."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable

CANARY = "canary-of-hostile-pickles"
# The extension code that a test registers for os.system.
EXTENSION = 0x7F

_PROTO = b"\x80\x04"
_TOUCH = f"touch {CANARY}".encode()


def _text(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


_ARGS = b"(" + _text(_TOUCH) + b"t"
_GLOBAL = b"cos\nsystem\n"
_STACK_GLOBAL = b"\x8c\x02os\x8c\x06system\x93"


def _long(negative: bool) -> bytes:
    return b"\x8b" + struct.pack("<i", -(1 << 30) if negative else (1 << 31) - 1)


def _nested(opening: bytes, closing: bytes, core: bytes = b"N", depth: int = 1_000_000) -> bytes:
    return _PROTO + opening * depth + core + closing * depth


# Whatever asks for code: the canary must not appear.
RUNS_CODE: dict[str, bytes] = {
    "global reduce": _PROTO + _GLOBAL + _ARGS + b"R.",
    "stack global reduce": _PROTO + _STACK_GLOBAL + _ARGS + b"R.",
    "inst": _PROTO + b"(" + _text(_TOUCH) + b"ios\nsystem\n.",
    "obj": _PROTO + b"(" + _GLOBAL + _text(_TOUCH) + b"o.",
    "newobj": _PROTO + _GLOBAL + _ARGS + b"\x81.",
    "newobj_ex": _PROTO + _GLOBAL + _ARGS + b"}\x92.",
    "newobj of subprocess.Popen": _PROTO
    + b"csubprocess\nPopen\n"
    + b"(("
    + _text(b"touch")
    + _text(CANARY.encode())
    + b"lt\x81.",
    "build on a module's function": _PROTO + _GLOBAL + b"}" + _text(b"__code__") + b"Nsb.",
    "build with slots on a class": _PROTO + b"cprofiler.core.errors\nDiffuscopeError\nN}" + _text(b"exit_code") + b"K\x00s\x86b.",
    "eval": _PROTO + b"cbuiltins\neval\n(" + _text(f"open('{CANARY}', 'w')".encode()) + b"tR.",
    "exec in a dict": _PROTO
    + b"}"
    + _text(b"segments")
    + b"cbuiltins\nexec\n("
    + _text(f"open('{CANARY}', 'w')".encode())
    + b"tRs.",
    "getattr chain": _PROTO + b"cbuiltins\ngetattr\n(cos\nenviron\n" + _text(b"clear") + b"tR(tR.",
    "dotted name": _PROTO + b"\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93(]tR.",
    "an innocent class": _PROTO + b"ccollections\nOrderedDict\n)R.",
    "copyreg reconstructor": _PROTO + b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
    "import alone": _PROTO + b"cthis\ns\n.",
    "__main__": _PROTO + b"c__main__\n__builtins__\n.",
    "names of Python 2": b"\x80\x02c__builtin__\nexecfile\n(" + _text(b"/dev/null") + b"tR.",
    "operator.attrgetter": _PROTO + b"coperator\nattrgetter\n(" + _text(b"system") + b"tR(cos\n__doc__\ntR.",
    "pickle in a pickle": _PROTO
    + b"c_pickle\nloads\n("
    + (b"C" + bytes([len(_PROTO + _GLOBAL + _ARGS + b"R.")]) + _PROTO + _GLOBAL + _ARGS + b"R.")
    + b"tR.",
    # With EXTENSION registered for os.system.
    "ext1": _PROTO + b"\x82" + bytes([EXTENSION]) + _ARGS + b"R.",
    "ext2": _PROTO + b"\x83" + struct.pack("<H", EXTENSION) + _ARGS + b"R.",
    "ext4": _PROTO + b"\x84" + struct.pack("<i", EXTENSION) + _ARGS + b"R.",
    "persistent id": _PROTO + b"Pos.system\n.",
    "binary persistent id": _PROTO + _text(_TOUCH) + b"Q.",
    "code after a whole pickle": pickle.dumps({"segments": []}, 4)[:-1] + b"0" + _GLOBAL + _ARGS + b"R.",
}

# Whatever is no pickle that anybody wrote.
BROKEN: dict[str, bytes] = {
    "build on a dict": _PROTO + b"}}" + _text(b"__class__") + b"Nsb.",
    "build with slots on a list": _PROTO + b"]N}" + _text(b"append") + b"Ns\x86b.",
    "reduce of a text": _PROTO + _text(b"os.system") + _ARGS + b"R.",
    "newobj of a text": _PROTO + _text(b"os.system") + _ARGS + b"\x81.",
    "append to a dict": _PROTO + b"}N" + b"a.",
    "items of a list of nothing": _PROTO + b"]NNs.",
    "stack underflow": _PROTO + b"00000.",
    "no mark": _PROTO + b"t.",
    "no memo": _PROTO + b"h\x07.",
    "nothing on the stack": _PROTO + b".",
    "an unknown opcode": _PROTO + b"\xff.",
    "an unknown protocol": b"\x80\x05\x80\xff}.",
    "an unhashable key": _PROTO + b"}]Ns.",
    "a buffer outside": b"\x80\x05\x97.",
    "a readonly nothing": b"\x80\x05N\x98.",
    "a long int of negative length": _PROTO + _long(negative=True) + b".",
    "a decimal int of many digits": _PROTO + b"I" + b"9" * 1_000_000 + b"\n.",
    "a decimal long of many digits": _PROTO + b"L" + b"9" * 1_000_000 + b"L\n.",
    "bad UTF-8": _PROTO + b"X\x02\x00\x00\x00\xff\xfe.",
    "a bad escape": _PROTO + b"S'\\x'\n.",
    "a float of no digits": _PROTO + b"Fnothing\n.",
}

# Whatever asks for memory that the file does not hold.
HUNGRY: dict[str, bytes] = {
    "memo of 2^31": _PROTO + b"Nr" + struct.pack("<I", (1 << 31) - 1) + b".",
    "memo of 2^32": _PROTO + b"Nr" + struct.pack("<I", (1 << 32) - 1) + b".",
    "memo of 2^28": _PROTO + b"Nr" + struct.pack("<I", 1 << 28) + b".",
    "text memo": _PROTO + b"Np2147483646\n.",
    "bytes of 2^32": _PROTO + b"B" + struct.pack("<I", (1 << 32) - 1) + b".",
    "bytes of 2^62": _PROTO + b"\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "bytes of 2^35": _PROTO + b"\x8e" + struct.pack("<Q", 1 << 35) + b".",
    "text of 2^35": _PROTO + b"\x8d" + struct.pack("<Q", 1 << 35) + b".",
    "bytearray of 2^35": b"\x80\x05\x96" + struct.pack("<Q", 1 << 35) + b".",
    "frame of 2^35": _PROTO + b"\x95" + struct.pack("<Q", 1 << 35) + b".",
    "frame of 2^63": _PROTO + b"\x95" + struct.pack("<Q", 1 << 63) + b".",
    "long int of 2 GB": _PROTO + _long(negative=False) + b".",
    "a list doubled again and again": _PROTO + b"](N" + b"N" * 1000 + b"e" + b"2(" * 3000 + b".",
}

# Made when asked for: these are large.
LARGE: dict[str, Callable[[], bytes]] = {
    "deep lists": lambda: _nested(b"](", b"e") + b".",
    "deep tuples": lambda: _nested(b"", b"\x85") + b".",
    "deep tuple as a key": lambda: _PROTO + b"}N" + b"\x85" * 3_000_000 + b"Ns.",
    "deep frozenset": lambda: _nested(b"(", b"\x91") + b".",
    "deep settings": lambda: _nested(b"}" + _text(b"a"), b"s", depth=200_000) + b".",
    "a gzip bomb of zeros": lambda: gzip.compress(_PROTO + b"\0" * (1 << 29) + b".", 9),
    "a gzip bomb of marks": lambda: gzip.compress(_PROTO + b"(" * (1 << 27) + b".", 9),
    "a gzip bomb of lists": lambda: gzip.compress(_PROTO + b"](" + b"]" * (1 << 26) + b"e.", 9),
}


def embedded(value: object) -> bytes:
    """The opcodes that push a value, to stand inside a pickle made by hand."""
    return pickle.dumps(value, 2)[2:-1]


def record(**values: bytes) -> bytes:
    """A pickle of one dict, whose values are given as opcodes."""
    return _PROTO + b"}" + b"".join(_text(key.encode()) + value + b"s" for key, value in values.items()) + b"."
