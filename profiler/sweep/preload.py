"""What cells import, imported before any of them is there: in a process that forks them, and never touches CUDA itself.

A CUDA that was touched is of no use after a fork, and libraries ask for the device while they are imported. So they get their
answers from `nvidia-smi`; a trial fork then sees whether these were right, and whether CUDA still begins in a fork.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_BASE = ("profiler.recording.runner", "torchao.quantization", "torch.profiler", "torch._dynamo")
# By the first word of a registered model's name.
_MODELS = {
    "flux": ("diffusers.pipelines.flux.pipeline_flux",),
    "cogvideox": ("diffusers.pipelines.cogvideo.pipeline_cogvideox",),
}
_COMPILE = ("torch._inductor.compile_fx", "torch._inductor.codegen.triton", "torch._inductor.codegen.cpp_wrapper_cpu")
_TRIAL_S = 120
# pyarrow's allocator has a thread of its own, stops it around a fork and starts it anew in the child.
_FORKABLE = frozenset({"jemalloc_bg_thd"})
Capability = tuple[int, int]


class _Properties(NamedTuple):
    """What is known of a GPU without asking it."""

    major: int
    minor: int


def modules_for(models: Iterable[str], *, compiled: bool) -> list[str]:
    """The modules that cells of these models will need; for a user's own pipeline only what every recording needs."""
    families = sorted({each.partition("-")[0] for each in models if ":" not in each})
    named = [module for family in families for module in _MODELS.get(family, ())]
    return [*_BASE, *named, *(_COMPILE if compiled else ())]


def preload(modules: Sequence[str]) -> str | None:
    """Import modules; None where a fork of this process can then be a cell, else why it cannot."""
    if not modules:
        return None
    try:
        capabilities = visible_capabilities()
        if len(set(capabilities)) > 1:
            return "there are GPUs of several kinds"
        with answering(capabilities):
            for each in modules:
                importlib.import_module(each)
        # Else each fork soon goes through all objects of the libraries, and copies the memory that they lie in.
        gc.collect()
        return _touched() or _try_fork(capabilities)
    except Exception as error:  # noqa: BLE001 - whatever a library does here, cells can start by themselves
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"


def visible_capabilities() -> list[Capability]:
    """The compute capability of each GPU that this process may use, as nvidia-smi knows them; empty where there is none."""
    visible, tool = os.environ.get("CUDA_VISIBLE_DEVICES"), shutil.which("nvidia-smi")
    if tool is None or (visible is not None and visible.strip() in ("", "-1")):
        return []
    command = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = [tuple(map(int, each.split("."))) for each in done.stdout.split()] if done.returncode == 0 else []
    return [(major, minor) for major, minor in found]


@contextmanager
def answering(capabilities: list[Capability]) -> Iterator[None]:
    """Let torch.cuda say what is known, instead of asking the driver; nothing to do for a torch without CUDA.

    What torch.cuda's own functions call is replaced, and not they: dynamo keeps some of them while it is imported, and knows them
    again later. Whoever keeps what stands here instead gets the true one once this is over.
    """
    import torch

    if not torch.cuda._is_compiled():
        yield
        return
    now: list[bool] = [True]
    places = _answers(torch, capabilities)
    before = [(place, name, getattr(place, name, None)) for place, name, _ in places]
    for (place, name, answer), (_, _, true) in zip(places, before, strict=True):
        setattr(place, name, _for_now(now, answer, true))
    try:
        yield
    finally:
        now.clear()
        for place, name, true in before:
            delattr(place, name) if true is None else setattr(place, name, true)
        _forget_properties()


def _answers(torch: Any, capabilities: list[Capability]) -> list[tuple[Any, str, Callable[..., Any]]]:
    count = len(capabilities)
    return [
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "_device_count_nvml", lambda: count),
        # Torch itself defines it only when CUDA begins.
        (torch.cuda, "_get_device_properties", lambda index: _Properties(*capabilities[index])),
        (torch._C, "_cuda_getDeviceCount", lambda: count),
        (torch._C, "_cuda_getDevice", lambda: 0),
    ]


def _for_now(now: list[bool], answer: Callable[..., Any], true: Any) -> Callable[..., Any]:
    def told(*arguments: Any) -> Any:
        return answer(*arguments) if now else true(*arguments)

    return told


def _forget_properties() -> None:
    """What dynamo keeps of the devices came from here: a cell asks anew."""
    dynamo = sys.modules.get("torch._dynamo.device_interface")
    kept = getattr(dynamo, "caching_worker_device_properties", None)
    if kept is not None:
        kept.clear()


def _touched() -> str | None:
    """Why a fork of this process could not use CUDA, as far as this process can see."""
    import torch

    if torch.cuda.is_initialized():
        return "an import began CUDA"
    files = [_target(each) for each in Path("/proc/self/fd").iterdir()]
    return next((f"an import opened {each}" for each in files if each.startswith("/dev/nvidia")), None)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _try_fork(capabilities: list[Capability]) -> str | None:
    """Fork as for a cell: CUDA must begin there, with the devices that the imports were told; no thread may be left here."""
    import torch

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(capabilities, write)
    os.close(write)
    with os.fdopen(read) as answer:
        why = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        return why or f"the trial fork ended with code {code}"
    if threads := _threads():
        return f"the imports left threads running: {', '.join(threads)}"
    return "the trial fork began CUDA here" if torch.cuda.is_initialized() else None


def _threads() -> list[str]:
    """Names of this process's other threads, but for those that get over a fork."""
    own = str(os.getpid())
    names = [(each / "comm").read_text().strip() for each in Path("/proc/self/task").iterdir() if each.name != own]
    return sorted(name for name in names if name not in _FORKABLE)


def _answer(capabilities: list[Capability], write: int) -> None:
    """In the trial fork: say what is wrong, and end without a trace."""
    import signal

    import torch

    signal.alarm(_TRIAL_S)
    why = ""
    try:
        if torch.cuda._is_in_bad_fork():
            why = "an import touched CUDA"
        elif torch.cuda.is_available() != bool(capabilities):
            why = f"torch.cuda.is_available() is {not capabilities}, and nvidia-smi says otherwise"
        elif capabilities and torch.cuda.get_device_capability() != capabilities[0]:
            why = f"the GPU's capability is {torch.cuda.get_device_capability()}, and nvidia-smi says {capabilities[0]}"
        elif capabilities:
            torch.zeros(1, device="cuda").item()
    except Exception as error:  # noqa: BLE001 - it is the answer
        why = f"{type(error).__name__}: {error}"
    os.write(write, why.encode()[:4000])
    os._exit(1 if why else 0)
