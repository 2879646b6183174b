"""The structured compile log (what TORCH_TRACE writes): one handler for a whole run, detached while timing.

The log's string table is written once a handler, so a second handler would make a log that nothing can read.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LOGGER = "torch.__trace"
_KEY_RECORDS = ("fx_graph_cache_miss", "fx_graph_cache_hit", "fx_graph_cache_bypass")


class CompileLog:
    """Writes `dedicated_log_torch_trace_*.log` into a folder while attached."""

    def __init__(self, folder: Path) -> None:
        from torch._logging._internal import LazyTraceHandler, TorchLogsFormatter

        self.folder = folder
        self._handler = LazyTraceHandler(str(folder))
        self._handler.setFormatter(TorchLogsFormatter(trace=True))
        self._logger = logging.getLogger(_LOGGER)

    @property
    def attached(self) -> bool:
        """Whether the handler listens now."""
        return self._handler in self._logger.handlers

    def attach(self) -> None:
        """Listen from now on."""
        self._logger.addHandler(self._handler)

    def detach(self) -> None:
        """Stop listening; what was heard is flushed."""
        self._logger.removeHandler(self._handler)
        if self._handler.stream is not None:
            self._handler.flush()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing listens inside, torch's own handler (TORCH_TRACE) neither; as before afterwards."""
        handlers = list(self._logger.handlers)
        self.detach()
        for handler in handlers:
            self._logger.removeHandler(handler)
        try:
            yield
        finally:
            for handler in handlers:
                self._logger.addHandler(handler)

    def close(self) -> None:
        """Stop for good and compress what was written; a plain log stays where compressing fails."""
        self.detach()
        self._handler.close()
        for path in self.folder.glob("*.log"):
            _compress(path)


def _compress(path: Path) -> None:
    packed = path.with_name(path.name + ".gz")
    try:
        with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
    except OSError:
        packed.unlink(missing_ok=True)
        return
    path.unlink()


def fx_graph_keys(folder: Path) -> list[str]:
    """The FX graph keys of a log, in the order of compilation: what joins it to a trace."""
    keys: dict[str, None] = {}
    for path in sorted(folder.glob("*.log*")):
        for payload in _payloads(path):
            with contextlib.suppress(ValueError):
                key = json.loads(payload).get("key")
                if key:
                    keys[str(key)] = None
    return list(keys)


def _payloads(path: Path) -> Iterator[str]:
    """The payloads of the FX-graph-cache records: tab-indented lines after their header line."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    wanted, lines = False, []
    with opener(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("\t"):
                if wanted:
                    lines.append(line)
                continue
            if lines:
                yield "".join(lines)
            wanted, lines = any(f'"{name}"' in line for name in _KEY_RECORDS), []
    if lines:
        yield "".join(lines)
