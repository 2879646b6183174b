"""A sweep of fake cells: in this process, or as `python drive.py FOLDER NOTES SCHEMES fresh|warm` for one that a test kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from profiler.core.spec import RunSpec
from profiler.sweep.cells import Cell, make_cells
from profiler.sweep.driver import Driver, Limits
from profiler.sweep.executors.base import Executor, Site
from profiler.sweep.executors.local import LocalExecutor, places
from profiler.sweep.folder import Header, SweepFolder
from profiler.sweep.order import in_order
from profiler.sweep.refusals import refuse_cells

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Silent:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def show(self, cells: list[Cell], slots: int) -> None:
        pass

    def tell(self, cell: Cell) -> None:
        self.told.append((cell.id, cell.status))


class Unprobed(LocalExecutor):
    """Asks no torch what there is."""

    gpus = 0
    refuses: ClassVar[dict[str, str]] = {}

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        self._places = places(self._site, self.gpus)
        return [self.refuses.get(each["scheme"]) for each in specs]


class Warm(Unprobed):
    """Forks its cells."""

    modules: ClassVar[list[str]] = []

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        self._starter = self._starter or self._warm(self.modules)
        return super().probe(specs)


class Notes:
    """What fake cells leave behind, and how they behave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.behave()

    def behave(self, **acts: str) -> None:
        text = json.dumps({name.replace("_", "-"): act for name, act in acts.items()})
        (self.folder / "behave.json").write_text(text)

    def lines(self) -> list[list[str]]:
        file = self.folder / "starts.txt"
        return [each.split() for each in file.read_text().splitlines()] if file.exists() else []

    def starts(self) -> list[str]:
        return [each[0] for each in self.lines()]


def specs(notes: Path, schemes: str, **more: Any) -> list[RunSpec]:
    base = {"model": "flux-tiny", "prompt": str(notes), "steps": 8, "trace_steps": 4, "height": 64, "width": 64}
    return [RunSpec(**base | {"scheme": each, "guidance": 3.5} | more) for each in schemes.split()]


def drive(
    folder: Path,
    cells: list[Cell],
    executor: type[Any] | None = None,
    limits: Limits | None = None,
    retry: bool = False,
    view: Silent | None = None,
    cache: str = "shared",
    steps: int = 28,
) -> str:
    """One sweep of these cells; its status."""
    opened = SweepFolder(folder, Header(model="flux-tiny", steps=steps), {"model": "flux-tiny"}, "diffuscope sweep")
    try:
        refuse_cells(cells)
        opened.begin(in_order(cells), retry)
        site = Site(work=opened.work.absolute(), cache=opened.cache.absolute(), device="cpu")
        running: Executor = (executor or Unprobed)(site)
        try:
            driver = Driver(
                opened,
                running,
                view or Silent(),
                limits or Limits(cell_s=30.0),
                lambda cell: f"record {cell.id}",
                cache,
                child="fake_cell",
            )
            return driver.run()
        finally:
            running.close()
    finally:
        opened.close()


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in json.loads((folder / "sweep.json").read_text())["cells"]}


def wait_until(true: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def start(folder: Path, notes: Notes, schemes: str, how: str = "fresh") -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "drive.py"), str(folder), str(notes.folder), schemes, how]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    return subprocess.Popen(command, env=environment, start_new_session=True)


if __name__ == "__main__":
    # The tests may run under nohup, or in the background: what is ignored there would be ignored here, and rightly.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    how = {"fresh": Unprobed, "warm": Warm}[sys.argv[4]]
    ended = drive(Path(sys.argv[1]), make_cells(specs(Path(sys.argv[2]), sys.argv[3])), how)
    sys.exit(0 if ended == "ok" else 3)
