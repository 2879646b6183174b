"""Opening a run directory, whole or not."""

from __future__ import annotations

import json
from pathlib import Path
from stat import S_ISREG

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Manifest
from profiler.rundir.processes import alive
from profiler.rundir.rank_writer import await_ranks, take_in
from profiler.rundir.ranks import bury_rank, judge, read_ranks
from profiler.rundir.shape import loads
from profiler.rundir.writer import write_atomic

_RECORD_HINT = "record one with `diffuscope record`, or list a folder with `diffuscope runs`"

# The other ranks of a run whose lead was killed notice it soon.
_PATIENCE_S = 5.0
# A manifest of a model with thousands of Linears is a megabyte.
_MAX_BYTES = 64 << 20
_CHANGED = "the file was changed after recording; record again"


def read_manifest(run: Path) -> Manifest:
    """Read `run.json`.

    A run that says `running` while its process is gone died without a word (`kill -9`, power): it is shown as
    `interrupted`, in the phase that it had reached.

    Raises:
        UnreadableInput: no directory, no manifest, not JSON, a wrong shape, or a newer schema version.
    """
    manifest = _parse(run)
    if manifest.status == "running" and not alive(manifest.process):
        _bury_gone(run, manifest)
    return manifest


def _bury_gone(run: Path, manifest: Manifest) -> None:
    status, failure = judge(read_ranks(run)) if manifest.world_size > 1 else ("", None)
    if failure is not None:
        manifest.status, manifest.failure = status, failure
    else:
        bury(manifest, "interrupted", "the recording process is gone and left no word")


def bury(manifest: Manifest, status: str, message: str) -> None:
    """Mark a run whose process died: its last phase is where."""
    manifest.status = status
    manifest.failure = manifest.failure or Failure(type="Died", message=message, phase=manifest.open_phase)


def bury_on_disk(run: Path, status: str, message: str) -> None:
    """The same, written down: for a parent that saw its recording child die. A run that another process records stays."""
    manifest = _parse(run)
    if manifest.status != "running" or alive(manifest.process):
        return
    if manifest.world_size > 1:
        bury_rank(run, 0, message)
        await_ranks(run, _PATIENCE_S)
        take_in(run, manifest, known=(0,))
    else:
        bury(manifest, status, message)
    manifest.process = {}
    (run / layout.RESERVE).unlink(missing_ok=True)
    write_atomic(run / layout.MANIFEST, json.dumps(manifest.to_dict(), indent=1))


def overwrite_status(run: Path, status: str, message: str) -> None:
    """Write another status over a run whose process is gone: for one that ended it, and knows better why than it could."""
    manifest = _parse(run)
    manifest.failure = Failure(type="Ended", message=message, phase=manifest.failure.phase if manifest.failure else None)
    manifest.failure.phase = manifest.failure.phase or manifest.open_phase
    manifest.status, manifest.process = status, {}
    (run / layout.RESERVE).unlink(missing_ok=True)
    write_atomic(run / layout.MANIFEST, json.dumps(manifest.to_dict(), indent=1))


def is_run(path: Path) -> bool:
    """Whether `path` looks like a run directory."""
    return (path / layout.MANIFEST).is_file()


def _parse(run: Path) -> Manifest:
    path = run / layout.MANIFEST
    if not run.is_dir():
        raise UnreadableInput(f"{run} is no run directory", _RECORD_HINT)
    try:
        _refuse_endless(path)
        raw = loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreadableInput(f"{run} holds no {layout.MANIFEST}", _RECORD_HINT) from None
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableInput(f"{path} is not JSON: {error}", _CHANGED) from None
    _check_version(path, raw)
    try:
        return Manifest.from_dict(raw)
    except TypeError as error:
        raise UnreadableInput(f"{path} has a wrong shape: {error}", _CHANGED) from None


def _refuse_endless(path: Path) -> None:
    """A pipe or a device would keep the reader for ever, a giant file would take all memory."""
    stat = path.stat()
    if not S_ISREG(stat.st_mode) or stat.st_size > _MAX_BYTES:
        raise UnreadableInput(f"{path} is no file of at most {_MAX_BYTES >> 20} MiB", _CHANGED)


def _check_version(path: Path, raw: object) -> None:
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise UnreadableInput(f"{path} is not a diffuscope manifest", _RECORD_HINT)
    if version > layout.SCHEMA_VERSION:
        raise UnreadableInput(
            f"{path} has schema version {version}; this diffuscope reads up to {layout.SCHEMA_VERSION}",
            "upgrade diffuscope to read it",
        )
