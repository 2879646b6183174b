"""The part of the Compile page with the code that Inductor generated."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboards import navigation, parts
from dashboards.links import Selection
from profiler.metrics.generated_code import CALLS, HEAD, pieces

_HEIGHT = 460
_WHOLE = "the whole file"
_SPOKEN = {HEAD: "imports", CALLS: "the code that calls the kernels"}


def section(at: Selection, code: pl.DataFrame, compiles: pl.DataFrame) -> None:
    """Each generated file by compile id, and in it each kernel."""
    parts.section("Generated code", "what Inductor wrote; a kernel's comment names the operators that it computes")
    if code.is_empty():
        parts.note("The log holds no generated code: Inductor compiled nothing in this process, or it all came from a cache.")
        return
    left, right = st.columns(2)
    files = _files(code, compiles)
    with left:
        number = st.selectbox("Compile", range(code.height), format_func=lambda index: files[index], key="code_file")
    found = pieces(code["text"][number])
    names = [each.name for each in found]
    with right:
        choices = [*(index for index, name in enumerate(names) if name not in _SPOKEN), *_others(names), len(found)]
        # Highlighting takes the browser a second: only what somebody asks for.
        chosen = st.selectbox(
            "Kernel",
            choices,
            index=None,
            placeholder=f"choose one of {sum(name not in _SPOKEN for name in names)} kernels",
            format_func=lambda index: _called(names, index),
            key=f"code_piece_{number}",
        )
    whole: str = code["text"][number]
    if chosen is not None:
        text = whole if chosen == len(found) else found[chosen].text
        st.code(text, language="python", line_numbers=True, height=_HEIGHT)
    with st.container(horizontal=True, gap="medium"):
        name = f"{at.run}-{code['compile_id'][number] or 'code'}.py".replace("/", "_")
        st.download_button("Download the file", whole, name, "text/x-python", icon=":material/download:", on_click="ignore")
        if chosen is not None and chosen < len(found) and names[chosen] not in _SPOKEN:
            to = Selection(run=at.run, rank=at.rank, kernel=names[chosen])
            navigation.link(navigation.TIMELINE, "This kernel in the timeline", to, ":material/view_timeline:")


def _files(code: pl.DataFrame, compiles: pl.DataFrame) -> list[str]:
    known = {(row["generation"], row["compile_id"]): row["function"] for row in compiles.to_dicts()}
    several = code["generation"].n_unique() > 1
    made = []
    for generation, compile_id, text in code.select("generation", "compile_id", "text").iter_rows():
        function = known.get((generation, compile_id)) or "?"
        made.append(f"{f'{generation}: ' if several else ''}[{compile_id}] {function} · {len(text) >> 10:,} KiB")
    return made


def _others(names: list[str]) -> list[int]:
    return [index for index, name in enumerate(names) if name in _SPOKEN]


def _called(names: list[str], index: int) -> str:
    return _WHOLE if index == len(names) else _SPOKEN.get(names[index], names[index])
