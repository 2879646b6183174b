"""Records of one compile log file into rows, a small method a kind of record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from profiler.tables import compile_log_events as events
from profiler.tables import compile_log_provenance as provenance
from profiler.tables import compile_log_text as text
from profiler.tables.compile_log_events import Metrics, microseconds, seconds
from profiler.tables.compile_log_records import BAD_PAYLOAD, Record, decode
from profiler.tables.compile_log_rows import Row, Rows, worst
from profiler.tables.losses import Losses

_LIMIT = re.compile(r"recompile[_ ]limit|cache_size_limit|RecompileLimit", re.IGNORECASE)
_LIMIT_VALUE = re.compile(r"exceeding the (\w+) cache size limit \(currently set to (\d+)\)")
_RESUME = re.compile(r"torch_dynamo_resume_in_(.+)_at_(\d+)$")
_GUARD = re.compile(r"^[| ]*\+- ([A-Z][A-Z_]+): (.*)$", re.MULTILINE)


class FileReader:
    """Reads one file; names are interned per file, compile ids begin anew per file and after each reset.

    Args:
        log: the file's name, for the table.
        rows: where rows go.
        losses: where payloads that cannot be read are counted.
        first_generation: number of this file's first generation.
        rank: rank of a record that names none.
    """

    def __init__(self, log: str, rows: Rows, losses: Losses, first_generation: int, rank: int) -> None:
        self.generation = first_generation
        self.unread: dict[str, int] = {}
        self._log, self._rows, self._losses, self._rank = log, rows, losses, rank
        self._strings: dict[int, str] = {}
        self._begun: dict[str, int] = {}
        self._last_frame = -1
        self._opening: str | None = None
        self._version: str | None = None
        self._open_spans: dict[tuple[Any, ...], list[Row]] = {}
        self._places: dict[str | None, dict[str, str]] = {}

    def read(self, records: Iterator[Record]) -> None:
        """Read every record."""
        for record in records:
            read = _READERS.get(record.kind)
            if read is None:
                self.unread[record.kind] = self.unread.get(record.kind, 0) + 1
            elif record.header.rank is not None:
                self._rank = record.header.rank
            if read is not None:
                read(self, record)
        for row in self._rows.compiles.values():
            if row.get("torch_version") is None and row["log"] == self._log:
                row["torch_version"] = self._version

    def _text(self, record: Record) -> str:
        return record.payload.decode("utf-8", "replace")

    def _json(self, record: Record, decoder: msgspec.json.Decoder[Any]) -> Any:
        found = decode(record.payload, decoder)
        # The half record at the end of a log has no payload and is counted already.
        if found is None and record.raw_payload:
            self._losses.add(BAD_PAYLOAD)
        return found

    def _add(self, table: str, record: Record, **values: Any) -> None:
        where = {"generation": self.generation, "compile_id": record.header.compile_id, "rank": self._rank}
        self._rows.add(table, **where, **values)

    def _compile(self, record: Record) -> Row:
        row = self._rows.compile(self.generation, record.header.compile_id, log=self._log, rank=self._rank)
        row["attempts"] = max(row["attempts"], (record.header.attempt or 0) + 1)
        return row

    def _begin(self, compile_id: str | None, frame: int | None, number: int | None) -> None:
        """A compile begins. One that already began, or a new frame with an old number: ids started again.

        Both its first chromium event and its `dynamo_start` tell of it; either may be missing.
        """
        if compile_id is None or compile_id == self._opening:
            self._opening = None
            return
        again = compile_id in self._begun or (number == 0 and frame is not None and frame <= self._last_frame)
        if again:
            self.generation += 1
            self._begun.clear()
            self._places.clear()
            self._last_frame = -1
        self._begun[compile_id] = self.generation
        self._last_frame = max(self._last_frame, frame or 0)

    def string(self, record: Record) -> None:
        if record.header.string is not None:
            name, number = record.header.string
            self._strings[number] = name

    def start(self, record: Record) -> None:
        header = record.header
        self._begin(header.compile_id, header.frame_id, header.frame_compile_id)
        found: events.Start = decode(header.dynamo_start, events.start) or events.Start()
        row = self._compile(record)
        stack = [(self._strings.get(each.filename, ""), each.line, each.name) for each in found.stack]
        row["called_from"] = [f"{file}:{line} {name}" for file, line, name in stack[:-1]]
        if stack:
            row.update(zip(("file", "line", "function"), stack[-1], strict=True))
            self._note_resume(row)

    def _note_resume(self, row: Row) -> None:
        found = _RESUME.search(row.get("function") or "")
        if found:
            row.update(resumes=found[1], resume_line=int(found[2]))

    def graph(self, record: Record) -> None:
        self._compile(record)["has_graph"] = True
        self._places[record.header.compile_id] = provenance.node_places(self._text(record))

    def metrics(self, record: Record) -> None:
        found: Metrics | None = decode(record.header.compilation_metrics, events.metrics)
        if found is None:
            self._losses.add(BAD_PAYLOAD)
            return
        row = self._compile(record)
        row.update({name: value for name, value in _columns(found).items() if value is not None})
        row["has_graph"] = row["has_graph"] or found.graph_op_count is not None
        row["skipped"] = found.has_guarded_code is False or found.fail_type is not None
        self._version = found.pytorch_version or self._version
        self._note_resume(row)
        if found.recompile_reason is not None and not row["is_recompile"]:
            self._add_recompile(record, [found.recompile_reason])
        if _LIMIT.search(f"{found.fail_type} {found.fail_reason}"):
            value = _LIMIT_VALUE.search(found.fail_reason or "")
            limit = {"limit": value[1], "value": int(value[2])} if value else {}
            self._add("limits", record, **limit, reason=found.fail_reason, at_ns=found.end_ns)
        self._add_cudagraph_skip(record, found)

    def backward_metrics(self, record: Record) -> None:
        found: Metrics | None = decode(record.header.bwd_compilation_metrics, events.metrics)
        if found is not None:
            row = self._compile(record)
            row["backward_ns"] = (row.get("backward_ns") or 0) + (found.dur_ns or 0)
            self._add_cudagraph_skip(record, found)

    def runtime_metrics(self, record: Record) -> None:
        found: Metrics | None = decode(record.header.compilation_metrics_runtime, events.metrics)
        if found is not None:
            self._add_cudagraph_skip(record, found)

    def _add_cudagraph_skip(self, record: Record, found: Metrics) -> None:
        if found.cudagraph_skip_reason:
            self._add("cudagraph_skips", record, reason=found.cudagraph_skip_reason, at_ns=found.end_ns)

    def graph_break(self, record: Record) -> None:
        found = text.parse_break(self._text(record))
        self._compile(record)
        self._add(
            "breaks",
            record,
            attempt=record.header.attempt or 0,
            gb_id=found.cause.gb_id,
            title=found.cause.title,
            reason=found.text,
            explanation=found.cause.explanation,
            context=found.cause.context,
            hints=found.cause.hints,
            skips_frame=found.skips_frame,
            skip_id=found.skip.gb_id if found.skip else None,
            skip_title=found.skip.title if found.skip else None,
            stack_files=[each.file for each in found.stack],
            stack_lines=[each.line for each in found.stack],
            stack_functions=[each.function for each in found.stack],
            stack_code=[each.code for each in found.stack],
        )

    def recompile(self, record: Record) -> None:
        payload = self._text(record)
        # One reason stands there bare, several as a JSON list.
        reasons = decode(payload.encode(), events.texts) or ([payload.strip()] if payload.strip() else [])
        if reasons:
            self._add_recompile(record, reasons)

    def _add_recompile(self, record: Record, reasons: list[str]) -> None:
        row = self._compile(record)
        row.update(is_recompile=True, recompile_reason=row.get("recompile_reason") or reasons[0])
        guard = text.parse_guard(reasons[0])
        place = guard.place
        self._add(
            "recompiles",
            record,
            guards=reasons,
            guard=guard.guard,
            before=guard.before,
            now=guard.now,
            hint=guard.hint,
            guard_file=place.file if place else None,
            guard_line=place.line if place else None,
        )

    def fx_cache(self, record: Record) -> None:
        found: events.CacheInfo | None = self._json(record, events.cache_info)
        row = self._compile(record)
        row["cache"] = worst(row.get("cache"), record.kind.rpartition("_")[2])
        if found is not None:
            row["cache_reason"] = found.cache_bypass_reason or row.get("cache_reason")
            if found.key and found.key not in row["fx_keys"]:
                row["fx_keys"].append(found.key)

    def aot_cache(self, record: Record) -> None:
        row = self._compile(record)
        row["aot_cache"] = worst(row.get("aot_cache"), record.kind.rpartition("_")[2])

    def span(self, record: Record) -> None:
        found: events.Span | None = self._json(record, events.span)
        if found is None:
            return
        at_ns = microseconds(found.ts)
        header = record.header
        if found.name == "dynamo" and found.ph == "B":
            self._begin(header.compile_id, header.frame_id, header.frame_compile_id)
            self._opening = header.compile_id
        thread = (found.pid, found.tid, found.name)
        if found.ph == "E":
            waiting = self._open_spans.get(thread)
            if waiting:
                row = waiting.pop()
                row["dur_ns"] = max(0, at_ns - row["start_ns"])
            return
        dur_ns = {"B": None, "X": microseconds(found.dur or 0)}.get(found.ph, 0)
        self._add("spans", record, name=found.name, kernel=found.args.kernel_name, start_ns=at_ns, dur_ns=dur_ns)
        if found.ph == "B":
            self._open_spans.setdefault(thread, []).append(self._rows.tables["spans"][-1])
            if found.name == "dynamo":
                self._compile(record).setdefault("start_ns", at_ns)

    def guards(self, record: Record) -> None:
        for kind, guard in _GUARD.findall(self._text(record)):
            self._add("guards", record, kind=kind, text=guard)

    def kernels(self, record: Record) -> None:
        found: dict[str, events.KernelInfo] = self._json(record, events.kernel_infos) or {}
        for name, info in found.items():
            compile_ns = None if info.compile_time_us is None else info.compile_time_us * 1000
            values = {"compile_ns": compile_ns, "autotune": info.autotune_cache_state, "configs": info.num_configs}
            self._add("kernels", record, kernel=name, **values)

    def code(self, record: Record) -> None:
        places, written = self._places.get(record.header.compile_id, {}), self._text(record)
        self._add("code", record, text=written)
        for name, nodes in provenance.kernels_of_code(written):
            if self._kernel(record, name)["source"] == "code":
                where = list(dict.fromkeys(places[each] for each in nodes if each in places))
                self._kernel(record, name).update(nodes=nodes, places=where)

    def node_mapping(self, record: Record) -> None:
        for name, nodes in provenance.kernels_of_mapping(self._json(record, events.anything)):
            self._kernel(record, name).update(nodes=nodes, source="tracking")

    def kernel_stacks(self, record: Record) -> None:
        found: dict[str, list[str]] = self._json(record, events.text_lists) or {}
        for handle, stacks in found.items():
            where = provenance.places_of_stacks(stacks)
            self._kernel(record, provenance.kernel_name(handle)).update(places=where, source="tracking")

    def _kernel(self, record: Record, name: str) -> Row:
        key = (self.generation, record.header.compile_id, name)
        fresh: Row = {"generation": key[0], "compile_id": key[1], "kernel": name, "rank": self._rank}
        return self._rows.kernels.setdefault(key, fresh | {"nodes": [], "places": [], "source": "code"})


def _columns(found: Metrics) -> Row:
    """Columns of `compiles` that the metrics tell; None for what they do not."""
    return {
        "function": found.co_name,
        "file": found.co_filename,
        "line": found.co_firstlineno,
        "start_ns": found.start_ns,
        "end_ns": found.end_ns,
        "dur_ns": found.dur_ns,
        "dynamo_ns": seconds(found.entire_frame_compile_time_s),
        "aot_ns": seconds(found.backend_compile_time_s),
        "inductor_ns": seconds(found.inductor_compile_time_s),
        "codegen_ns": seconds(found.code_gen_time_s),
        "triton_ns": None if found.triton_compile_time_us is None else found.triton_compile_time_us * 1000,
        "before_restart_ns": seconds(found.dynamo_time_before_restart_s),
        "recompile_reason": found.recompile_reason,
        "op_count": found.graph_op_count,
        "guard_count": found.guard_count,
        "guard_ns": None if found.guard_latency_us is None else found.guard_latency_us * 1000,
        "cache_size": found.cache_size,
        "fail_type": found.fail_type,
        "fail_reason": found.fail_reason,
        "torch_version": found.pytorch_version,
    }


_Reader = Callable[[FileReader, Record], None]
_READERS: dict[str, _Reader] = {
    "str": FileReader.string,
    "dynamo_start": FileReader.start,
    "dynamo_output_graph": FileReader.graph,
    "compilation_metrics": FileReader.metrics,
    "bwd_compilation_metrics": FileReader.backward_metrics,
    "compilation_metrics_runtime": FileReader.runtime_metrics,
    "chromium_event": FileReader.span,
    "dynamo_graph_break_reason": FileReader.graph_break,
    "recompile_reasons": FileReader.recompile,
    "dynamo_cpp_guards_str": FileReader.guards,
    "triton_kernel_info": FileReader.kernels,
    "inductor_output_code": FileReader.code,
    "inductor_provenance_tracking_node_mappings": FileReader.node_mapping,
    "inductor_provenance_tracking_kernel_stack_traces": FileReader.kernel_stacks,
    **{f"fx_graph_cache_{state}": FileReader.fx_cache for state in ("hit", "miss", "bypass")},
    **{f"aotautograd_cache_{state}": FileReader.aot_cache for state in ("hit", "miss", "bypass")},
}
