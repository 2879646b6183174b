"""The collectives of every rank, matched: who came last, and how long the others waited for it.

A collective of NCCL is a kernel, one of gloo a span of a worker thread. The same one on several ranks has the same process group,
kind and number; a trace without numbers has their order. It can start to move data when the last rank has come: the time before
is waiting, charged to that rank; the time from there on is its own.
"""

from __future__ import annotations

import polars as pl

from profiler.metrics.classes import COMMUNICATION, classify_gpu
from profiler.tables import schema
from profiler.tables.trace import TraceTables

CALLS = {
    "rank": pl.Int64,
    "kind": pl.String,
    "name": pl.String,
    "group": pl.String,
    "number": pl.Int64,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
}
_GLOO = "gloo:"
_KIND = r"(?i)(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast|send_?recv|reduce|gather|scatter|send|recv|barrier)"
# Between two ranks, not among all of a group: the nth of one rank is not the nth of another. `monitored_barrier` is made of them.
_PAIRWISE = ("send", "recv")
_END = pl.col("ts_ns") + pl.col("dur_ns")


def collectives_of(trace: TraceTables, rank: int) -> pl.DataFrame:
    """The collectives of one rank in order of their starts: columns of CALLS, times on the trace's own clock."""
    found = _kernels(trace) if trace.events.get("gpu") else _spans(trace)
    named = found.with_columns(pl.lit(rank, pl.Int64).alias("rank"), pl.col("kind").str.to_lowercase().str.replace_all("_", ""))
    return named.select(pl.col(name).cast(dtype) for name, dtype in CALLS.items()).sort("start_ns", "end_ns", "name")


def communication_names(events: pl.DataFrame) -> list[str]:
    """The kernels among events (name, cat) that communicate."""
    kernels = events.filter(pl.col("cat") == schema.KERNEL)["name"].unique()
    return [name for name in kernels if classify_gpu(name) == COMMUNICATION]


def _kernels(trace: TraceTables) -> pl.DataFrame:
    names = communication_names(trace.lazy("gpu").select("name", "cat").unique().collect())
    kernels = trace.lazy("gpu").filter((pl.col("cat") == schema.KERNEL) & pl.col("name").is_in(names))
    return kernels.select(
        pl.coalesce("collective", pl.col("name").str.extract(_KIND), "name").alias("kind"),
        "name",
        pl.coalesce("group_ranks", "process_group", pl.lit("")).alias("group"),
        pl.col("collective_number").alias("number"),
        pl.col("ts_ns").alias("start_ns"),
        _END.alias("end_ns"),
    ).collect()


def _spans(trace: TraceTables) -> pl.DataFrame:
    spans = trace.lazy("host").filter((pl.col("cat") == schema.USER_ANNOTATION) & pl.col("name").str.starts_with(_GLOO))
    return spans.select(
        pl.col("name").str.strip_prefix(_GLOO).alias("kind"),
        "name",
        pl.lit("").alias("group"),
        pl.lit(None, pl.Int64).alias("number"),
        pl.col("ts_ns").alias("start_ns"),
        _END.alias("end_ns"),
    ).collect()


def matched(calls: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, int]]:
    """Calls (CALLS, of all ranks) with `key`, the same for one collective on all its ranks; and, by rank, how many had no match.

    Where there are no numbers, a rank that made more or fewer calls of a kind than most is left out: order says nothing then.
    What one rank sends to another is no collective: it has no match and lacks none.
    """
    calls = calls.filter(~pl.col("kind").is_in(_PAIRWISE))
    numbered = pl.col("number").is_not_null().all().over("group", "kind")
    within = pl.when(numbered).then("number").fill_null(-1).alias("number")
    ordered = calls.sort("rank", "start_ns", maintain_order=True).with_columns(within)
    nth = pl.int_range(pl.len()).over("rank", "group", "kind", "number").alias("nth")
    keyed = ordered.with_columns(nth).with_columns(
        pl.concat_str("group", "kind", "number", "nth", separator="|").alias("key"),
        pl.len().over("rank", "group", "kind").alias("made"),
    )
    # Ties go to the smaller count: a file cut short has lost calls, none has gained any.
    each = keyed.select("rank", "group", "kind", "made").unique()
    usual = each.group_by("group", "kind").agg(pl.col("made").mode().min().alias("usual"))
    known = keyed.join(usual, on=["group", "kind"]).filter((pl.col("number") >= 0) | (pl.col("made") == pl.col("usual")))
    shared = known.filter(pl.col("rank").n_unique().over("key") > 1)
    alone = calls.group_by("rank").len().join(shared.group_by("rank").len(), on="rank", how="left", suffix="_shared")
    lost = {rank: made - (found or 0) for rank, made, found in alone.iter_rows() if made > (found or 0)}
    return shared.drop("nth", "made", "usual").sort("rank", "start_ns", maintain_order=True), lost


def arrivals(calls: pl.DataFrame, clocks: pl.DataFrame) -> pl.DataFrame:
    """Matched calls with `until_ns` (when the last rank had come, on the rank's own clock, never after `end_ns`; `start_ns` where
    nobody was waited for) and `for_rank` (who that was, or null).

    A wait no longer than the error of the clocks is none.

    Args:
        calls: of `matched`.
        clocks: of `ranks_clock.clocks`; a rank whose clock cannot be aligned waits for nobody, and nobody for it.
    """
    aligned = calls.join(clocks.select("rank", "shift_ns", "error_ns"), on="rank", how="left").with_columns(
        (pl.col("start_ns") + pl.col("shift_ns")).alias("came_ns")
    )
    last = pl.col("came_ns") == pl.col("came_ns").max().over("key")
    latest = aligned.filter(last).group_by("key").agg(pl.col("came_ns", "rank", "error_ns").first())
    both = aligned.join(latest, on="key", how="left", suffix="_last", maintain_order="left")
    wait = pl.min_horizontal(pl.col("came_ns_last") - pl.col("came_ns"), pl.col("end_ns") - pl.col("start_ns"))
    unsure = pl.col("error_ns") + pl.col("error_ns_last")
    counted = pl.when(wait > unsure).then(wait).fill_null(0)
    found = both.with_columns((pl.col("start_ns") + counted).alias("until_ns"))
    waited = pl.when(pl.col("until_ns") > pl.col("start_ns")).then("rank_last").alias("for_rank")
    return found.with_columns(waited).select(*CALLS, "key", "until_ns", "for_rank")
