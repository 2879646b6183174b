"""Take a recorded run into traces/: machine paths out of every artifact, hashes made anew.

    python benchmarks/adopt_run.py RUN traces/NAME /tmp/site/=site-packages/ /home/me/=

Each FROM=TO is replaced wherever it stands. `--drop FILE` leaves an artifact out and notes that as lost. Of `sources.json`
only the lines of this project's own files stay: what other projects wrote is theirs to publish.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import pickle
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from profiler.core import safe_pickle
from profiler.rundir import layout

Pairs = list[tuple[str, str]]
_OWN = ("profiler/", "dashboards/")


def main() -> None:
    """Copy, rewrite, index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("paths", nargs="*", help="FROM=TO")
    parser.add_argument("--drop", action="append", default=[])
    options = parser.parse_args()
    pairs: Pairs = [(before, after) for before, _, after in (each.partition("=") for each in options.paths)]
    shutil.copytree(options.run, options.target)
    shutil.rmtree(options.target / layout.CACHE_DIR, ignore_errors=True)
    dropped = [*options.drop, *_absent(options.target)]
    for name in options.drop:
        (options.target / name).unlink()
    for path in _files(options.target):
        _rewrite(path, pairs)
    for path in options.target.rglob(layout.SOURCES):
        _own_only(path)
    _index(options.target, dropped)


def _absent(run: Path) -> list[str]:
    """Artifacts that whoever brought the run home had left out already."""
    listed = json.loads((run / layout.MANIFEST).read_text())["artifacts"]
    return [name for name in listed if not (run / name).exists()]


def _own_only(sources: Path) -> None:
    kept = json.loads(sources.read_text())
    sources.write_text(json.dumps({file: lines for file, lines in kept.items() if file.startswith(_OWN)}))


def _files(run: Path) -> Iterable[Path]:
    return [path for path in sorted(run.rglob("*")) if path.is_file() and path.suffix in (".gz", ".json", ".log")]


def _rewrite(path: Path, pairs: Pairs) -> None:
    if path.name.endswith(".pickle.gz"):
        with gzip.open(path) as file:
            content = _replace_in(safe_pickle.load(file), pairs, {})
        data = pickle.dumps(content, protocol=4)
    else:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for before, after in pairs:
            data = data.replace(before.encode(), after.encode())
    # No time stamp inside: the same run gives the same bytes.
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0) if path.suffix == ".gz" else data)


def _replace_in(value: Any, pairs: Pairs, done: dict[int, Any]) -> Any:
    """Strings replaced in place through dicts and lists; an object that is shared is visited once and stays shared."""
    if isinstance(value, str):
        return _replaced(value, pairs, done)
    if id(value) in done or not isinstance(value, dict | list):
        return value
    done[id(value)] = value
    for key, each in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        value[key] = _replace_in(each, pairs, done)
    return value


def _replaced(text: str, pairs: Pairs, done: dict[int, Any]) -> str:
    if id(text) not in done:
        new = text
        for before, after in pairs:
            new = new.replace(before, after)
        # The old string is kept alive beside the new one: its id must not be given to another.
        done[id(text)] = (text, new)
    return str(done[id(text)][1])


def _index(run: Path, dropped: list[str]) -> None:
    path = run / layout.MANIFEST
    manifest = json.loads(path.read_text())
    for name in dropped:
        manifest["artifacts"].pop(name, None)
        manifest["lost"].append({"what": name, "why": "left out of the kept copy for its size", "count": 1})
    for name in manifest["artifacts"]:
        data = (run / name).read_bytes()
        manifest["artifacts"][name] = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(manifest, indent=1))


if __name__ == "__main__":
    main()
