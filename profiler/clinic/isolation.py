"""Several recordings in one process: what one leaves behind in torch must not reach the next."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def isolated() -> Iterator[None]:
    """Compile caches, counters, settings and attention backends are as before afterwards, as in a process of its own."""
    import torch

    forget()
    dynamo, inductor = torch._dynamo.config.save_config(), torch._inductor.config.save_config()
    attention = {name: getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in _ATTENTION}
    try:
        yield
    finally:
        torch._dynamo.config.load_config(dynamo)
        torch._inductor.config.load_config(inductor)
        for name, enabled in attention.items():
            getattr(torch.backends.cuda, f"enable_{name}_sdp")(enabled)
        forget()


_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")


def forget() -> None:
    """Drop what was compiled and counted, and the memory of what was built."""
    import torch
    import torch._dynamo.utils
    import torch._inductor.config
    from torch._logging import structured

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch._dynamo.utils.clear_compilation_metrics()
    # Each structured log needs a string table of its own.
    structured.INTERN_TABLE.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
