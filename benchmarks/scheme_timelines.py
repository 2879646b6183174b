"""The memory of several runs side by side, from loading to a call, by what it is for: one picture of a panel a run.

python3 benchmarks/scheme_timelines.py OUT.png RUN [RUN ...]

Phases are given equal widths, and inside a phase every allocation the same: compiling takes a hundred times as long as a call.
Needs the dashboard's libraries and Debian's chromium.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.core import palette
from profiler.core.units import GIB
from profiler.metrics.memory import memory_summary, timeline
from profiler.rundir import layout
from profiler.tables.run import Run

# From the bottom: what it is called here, the roles of it, its colour.
LAYERS = (
    ("bf16 weights", ("weight", "left in bf16", "buffer"), palette.CATEGORIES["weights"]),
    ("quantized weights", ("quantized data", "scale", "zero point"), palette.CATEGORIES["inputs and outputs"]),
    ("weights in conversion", ("in conversion",), palette.CATEGORIES["cuda-graph pool"]),
    ("activations", ("activation", "quantized activation", "dequantized weight", "inputs and outputs"), "#E69F00"),
    ("workspace", ("convolution", "attention", "GEMM", "autotune", "compilation"), palette.CATEGORIES["workspace"]),
)
OTHERS = "others"
PARTS = {"load": (layout.LOAD, layout.QUANTIZE, layout.WARMUP), "memory": (layout.MEMORY_PHASE,)}
SHOWN = {layout.LOAD: "load", layout.QUANTIZE: "quantize", layout.WARMUP: "warm-up", layout.MEMORY_PHASE: "a call"}
_POINTS, _SIZE = 4000, (1280, 420)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    asked = parser.parse_args()
    screenshot(drawn([Run.open(each) for each in asked.runs]), asked.out)


def drawn(runs: list[Run]) -> go.Figure:
    """A panel a run, all on one scale."""
    made = make_subplots(1, len(runs), shared_yaxes=True, horizontal_spacing=0.012, subplot_titles=[title(run) for run in runs])
    for column, run in enumerate(runs, 1):
        frame = layers(run)
        for name, _, colour in LAYERS:
            area = {"stackgroup": "live", "line": {"width": 0, "shape": "hv"}, "fillcolor": colour, "mode": "lines"}
            made.add_trace(
                go.Scatter(x=frame["x"], y=frame[name] / GIB, name=name, showlegend=column == 1, legendgroup=name, **area),
                row=1,
                col=column,
            )
        made.update_xaxes(
            tickvals=[each + 0.5 for each in range(len(SHOWN))], ticktext=list(SHOWN.values()), range=[0, 4], row=1, col=column
        )
        for border in (1, 2, 3):
            made.add_vline(border, line={"color": "#FFFFFF", "width": 2}, row=1, col=column)
    made.update_yaxes(gridcolor="#DDDDDD", rangemode="tozero")
    made.update_yaxes(title="live GiB, as requested", col=1)
    made.update_annotations(font_size=13)
    legend = {"orientation": "h", "y": -0.12, "x": 0.5, "xanchor": "center"}
    made.update_layout(
        width=_SIZE[0], height=_SIZE[1], template="plotly_white", legend=legend, margin={"l": 8, "r": 8, "t": 64, "b": 8}
    )
    return made


def title(run: Run) -> str:
    """Scheme and compile mode, model memory and the peaks that matter."""
    spec, memory = run.manifest.spec, memory_summary(run)
    calls = run.manifest.timed.get("iterations_ns")
    gib = [(each or 0) / GIB for each in (memory.model_bytes, memory.inference_peak_bytes)]
    name = f"<b>{spec['scheme']}</b>" + (f" {spec['compile']}" if spec.get("compile") != "none" else " eager")
    took = f", {statistics.median(calls) / 1e9:.2f} s" if calls else ""
    return f"{name}{took}<br>model {gib[0]:.2f}, call's peak {gib[1]:.2f} GiB"


def layers(run: Run) -> pl.DataFrame:
    """x (phases done), and a column a layer, bytes; every event's peak is among them."""
    known = {role for _, roles, _ in LAYERS for role in roles}
    frames = []
    for part, phases in PARTS.items():
        found = timeline(run, part=part, by="role")
        rows = found.thinned(_POINTS)
        roles = set(found.labels)
        unknown = sorted(roles - known - {"before recording"})
        if unknown:
            raise SystemExit(f"{run.path}: nothing says where {', '.join(unknown)} belong")
        none = [pl.lit(0, pl.Int64)]
        columns = [pl.sum_horizontal([pl.col(r) for r in of if r in roles] or none).alias(name) for name, of, _ in LAYERS]
        rows = rows.select("time_us", *columns)
        frames += [_phase(run, rows, name) for name in phases]
    return pl.concat(frames)


def _phase(run: Run, rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows of one phase, x from its number to the next; it begins with what lived before."""
    phase = run.manifest.phase(name)
    if phase is None or not phase.end_ns:
        raise SystemExit(f"{run.path}: the phase {name} did not end")
    number, start, end = list(SHOWN).index(name), phase.start_ns / 1e3, phase.end_ns / 1e3
    inside = rows.filter(pl.col("time_us").is_between(start, end))
    columns = [each[0] for each in LAYERS]
    made = inside.select((number + pl.int_range(pl.len()) / pl.len()).alias("x"), *columns)
    earlier = rows.filter(pl.col("time_us") < start).tail(1)
    before = earlier.select(pl.lit(float(number)).alias("x"), *columns)
    last = made.tail(1).with_columns(pl.lit(number + 1.0).alias("x"))
    return pl.concat([before, made, last])


def screenshot(made: go.Figure, out: Path) -> None:
    """The figure as chromium draws it."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "figure.html"
        made.write_html(page_file, include_plotlyjs=True, config={"displayModeBar": False})
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _SIZE[0] + 16, "height": _SIZE[1] + 16})
        page.goto(page_file.as_uri())
        page.locator(".main-svg").first.wait_for()
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main()
