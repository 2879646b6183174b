"""What a whole stack says about its allocations, and how it reads."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from profiler.metrics.memory.frame_rules import AROUND, TEXT_ENCODERS, FrameFacts, frame_facts
from profiler.metrics.memory.labels import PIPELINE

FACTS = {
    "stack": pl.Int32,
    "component": pl.String,
    "around": pl.String,
    "operator": pl.String,
    "quantizing": pl.String,
    "in_module": pl.Boolean,
    "place": pl.String,
}
_FRAME = {
    **dict.fromkeys(("component", "around", "operator", "quantizing"), pl.String),
    **dict.fromkeys(("module", "library", "generated"), pl.Boolean),
}
# An operator is called by the frame right around the allocation, or by one that only passes the call on.
_OPERATOR_DEPTH = 4


def stack_facts(stacks: pl.DataFrame, components: Iterable[str] = ()) -> pl.DataFrame:
    """One row a stack: stack, component, around, operator, quantizing, in_module, place (innermost frame of user code).

    Args:
        stacks: stack, depth, name, file, line.
        components: names of the pipeline's torch modules, as far as they are known.
    """
    frames = _with_facts(stacks).sort("stack", "depth")
    own = pl.col("component").filter(pl.col("component").is_in(["", PIPELINE]).not_()).first()
    piped = pl.col("component").filter(pl.col("component") == PIPELINE).first()
    facts = frames.group_by("stack", maintain_order=True).agg(
        pl.coalesce(own, piped, pl.lit("")).alias("component"),
        _most_urgent().alias("around"),
        _operator().alias("operator"),
        _first("quantizing"),
        pl.col("module").any().alias("in_module"),
        _place().alias("place"),
    )
    encoder = pl.col("component").replace(_text_encoders(set(components)))
    return facts.with_columns(encoder, pl.col("place").fill_null("")).select(
        pl.col(name).cast(dtype) for name, dtype in FACTS.items()
    )


def stack_text(stacks: pl.DataFrame, wanted: Iterable[int]) -> dict[int, str]:
    """Some stacks as text, innermost frame first: `file:line function` a line."""
    frames = stacks.filter(pl.col("stack").is_in(list(set(wanted)))).sort("stack", "depth")
    line = pl.concat_str("file", pl.lit(":"), pl.col("line").cast(pl.String), pl.lit(" "), "name")
    return dict(frames.group_by("stack", maintain_order=True).agg(line.str.join("\n")).iter_rows())


def with_stack_text(rows: pl.DataFrame, stacks: pl.DataFrame) -> pl.DataFrame:
    """`rows` (few of them) with a column `stack_text`; "" where no frames were recorded."""
    texts = stack_text(stacks, rows["stack"].to_list())
    return rows.with_columns(pl.col("stack").replace_strict(texts, default="", return_dtype=pl.String).alias("stack_text"))


def _with_facts(stacks: pl.DataFrame) -> pl.DataFrame:
    """Every frame with what it says; distinct frames are looked at once."""
    distinct = stacks.select("file", "name").unique(maintain_order=True)
    facts = [frame_facts(file, name) for file, name in distinct.iter_rows()]
    columns = {field: [getattr(each, field) for each in facts] for field in FrameFacts._fields}
    known = pl.concat([distinct, pl.DataFrame(columns, schema=_FRAME)], how="horizontal")
    return stacks.join(known, on=["file", "name"], how="left", nulls_equal=True)


def _first(column: str) -> pl.Expr:
    """The first word of a column from the inside; "" where there is none."""
    return pl.coalesce(pl.col(column).filter(pl.col(column) != "").first(), pl.lit("")).alias(column)


def _most_urgent() -> pl.Expr:
    found = [pl.when((pl.col("around") == word).any()).then(pl.lit(word)) for word in AROUND]
    return pl.coalesce(*found, pl.lit(""))


def _operator() -> pl.Expr:
    """The operator whose frame the allocation lies in; below it only frames that pass the call on."""
    inner = pl.col("operator").filter((pl.col("operator") != "") & (pl.col("depth") < _OPERATOR_DEPTH))
    passing = pl.col("library").filter(pl.col("depth") < pl.col("depth").filter(pl.col("operator") != "").min()).all()
    return pl.when(passing).then(pl.coalesce(inner.first(), pl.lit(""))).otherwise(pl.lit(""))


def _place() -> pl.Expr:
    """The innermost frame of user code; of libraries alone, the innermost frame."""
    line = pl.concat_str("file", pl.lit(":"), pl.col("line").cast(pl.String), pl.lit(" "), "name")
    return pl.coalesce(line.filter(~pl.col("library")).first(), line.first())


def _text_encoders(components: set[str]) -> dict[str, str]:
    """CLIP and T5 by the pipeline's names: with two encoders T5 is the second, alone it is the first."""
    second = "text_encoder_2" if not components or "text_encoder_2" in components else "text_encoder"
    return dict(zip(TEXT_ENCODERS, ("text_encoder", second), strict=True))
