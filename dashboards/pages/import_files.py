"""Import: what did a run that was recorded elsewhere do? Files in, a run of this folder out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboards import navigation, parts
from dashboards.filing import Filing, filing
from dashboards.folder import folder
from dashboards.uploads import LARGER, LIMIT_MIB
from profiler.core.errors import DiffuscopeError

_QUESTION = "What did a run that was recorded elsewhere do?"
_LIMIT = f"{LIMIT_MIB // 1024} GiB" if LIMIT_MIB % 1024 == 0 else f"{LIMIT_MIB} MiB"


@dataclass(frozen=True)
class _Slot:
    """One kind of file: its name, what it tells, and how another program writes it."""

    title: str
    tells: str
    made_by: str


_TRACE = _Slot(
    "Trace",
    "a Kineto trace of torch.profiler, .json or .json.gz: time, kernels, idle time, its timeline",
    'from torch.profiler import profile\nwith profile() as prof:\n    pipe(prompt)\nprof.export_chrome_trace("trace.json.gz")',
)
_MEMORY = _Slot(
    "Memory snapshot",
    "of a CUDA allocator, .pickle, may be gzipped: where every byte is, the peak taken apart",
    'from torch.cuda import memory\nmemory._record_memory_history()\npipe(prompt)\nmemory._dump_snapshot("memory.pickle")',
)
_LOG = _Slot(
    "Compile log",
    "what TORCH_TRACE writes: its .log files, or a .tgz or .zip of the folder: graph breaks, recompiles, guards",
    "TORCH_TRACE=log \\\n    python script.py\n# its files as they are, or:\ntar czf log.tgz log",
)


def page() -> None:
    """The page."""
    note = f"Filed into {folder()}. Each file is judged by its content and may have {_LIMIT}; {LARGER}."
    parts.head(_QUESTION, "Drop a trace, a memory snapshot or a compile log; any one of them makes a run.", note)
    with st.form("import_form", border=False):
        trace, memory, logs = _files()
        timed_ms, name = _words()
        wanted = st.form_submit_button("Import", type="primary", icon=":material/upload_file:")
    if not wanted:
        return
    try:
        with filing(folder()) as found:
            found.save(trace, memory, logs, timed_ms)
            _wait(found)
            run = found.keep(name)
    except DiffuscopeError as error:
        parts.nothing(error.message, f"Nothing was imported. {_sentence(error.hint)}")
        return
    _forget([*([trace] if trace else []), *([memory] if memory else []), *logs])
    to = navigation.DIAGNOSIS if trace else navigation.MEMORY if memory else navigation.COMPILE
    st.switch_page(navigation.page(to), query_params={"run": run})


def _files() -> tuple[UploadedFile | None, UploadedFile | None, list[UploadedFile]]:
    first, second, third = st.columns(3)
    with first:
        trace = _one(_TRACE, "import_trace")
    with second:
        memory = _one(_MEMORY, "import_memory")
    with third, st.container(border=True):
        _about(_LOG)
        found = st.file_uploader(_LOG.title, accept_multiple_files=True, key="import_log", label_visibility="collapsed")
        parts.code(_LOG.made_by)
    return trace, memory, list(found)


def _one(slot: _Slot, key: str) -> UploadedFile | None:
    with st.container(border=True):
        _about(slot)
        found = st.file_uploader(slot.title, key=key, label_visibility="collapsed")
        parts.code(slot.made_by)
    return found


def _about(slot: _Slot) -> None:
    parts.section(slot.title, slot.tells)


def _words() -> tuple[float | None, str]:
    left, right, _ = st.columns(3)
    with left:
        timed_ms = st.number_input(
            "Untraced time of a step, ms",
            min_value=0.001,
            max_value=1e9,
            value=None,
            placeholder="not known",
            help="What one traced window (a step) takes when nothing records: idle time is then priced, otherwise only bounded.",
        )
    with right:
        name = st.text_input("Name of the run", max_chars=80, placeholder="import-<name of the file>")
    return timed_ms, name


def _wait(found: Filing) -> None:
    """Import, and say meanwhile what is being done and since when."""
    began = time.monotonic()
    with st.status("Starting", expanded=False) as status:
        try:
            for stage in found.stages():
                status.update(label=f"{stage} … {time.monotonic() - began:.0f} s")
        except DiffuscopeError:
            status.update(label="Not imported", state="error")
            raise
        status.update(label="Imported", state="complete")


def _forget(files: Sequence[UploadedFile]) -> None:
    """Give their memory back: the server keeps what was sent until the browser goes."""
    context = get_script_run_ctx()
    remove = getattr(context.uploaded_file_mgr, "remove_file", None) if context else None
    for each in files:
        if context and remove:
            remove(context.session_id, each.file_id)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
