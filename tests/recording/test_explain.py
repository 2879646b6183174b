"""explain: the planted fault is found once, at its own line, wherever it has to run for that; nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import broken_pipelines
import pytest
import torch

from profiler.core.errors import RecordedProgramFailed, Refused, UsageError
from profiler.core.spec import RunSpec
from profiler.models import text
from profiler.models.base import find_model
from profiler.recording import explain_cut
from profiler.recording.compile_counts import keep_every_compile
from profiler.recording.explain import explain_part
from profiler.recording.explain_parts import find_parts, select
from profiler.recording.explain_vary import label, varied

PLANTED = Path(broken_pipelines.__file__)
pytestmark = pytest.mark.usefixtures("one_thread")


def line_of(mark: str) -> int:
    """The line of the pipelines' file that carries a mark, the marks' own definition left out."""
    lines = enumerate(PLANTED.read_text().splitlines(), start=1)
    (found,) = [number for number, line in lines if line.endswith(mark)]
    return found


def explained(model: str, part: str = "transformer", vary: tuple[str, ...] = (), **asked: Any) -> dict[str, Any]:
    """The row of one part at 64 x 64."""
    keep_every_compile()
    parts, spec, limits = find_parts(find_model(model), RunSpec(model=model, **({"height": 64, "width": 64} | asked)))
    (chosen,) = select(parts, [part])
    return explain_part(chosen, spec, list(vary), limits)


def test_an_item_is_one_cause_although_the_meta_device_cannot_run_it():
    row = explained("broken_pipelines:item")
    (each,) = row["breaks"]
    assert (each["id"], each["file"], each["line"]) == ("GB0124", str(PLANTED), line_of(broken_pipelines.ITEM))
    assert each["reason"] == "Unsupported Tensor.item() call with capture_scalar_outputs=False"
    assert "capture_scalar_outputs = True" in each["hint"]
    # Both double blocks run it; the two frames that dynamo gave up because of it are no causes.
    assert each["count"] == 2
    assert row["device"] == "cpu"
    assert row["depth"] == "every block; random weights, 64x64, 16 text tokens"
    assert "item() cannot be called on meta tensors" in row["meta_error"]
    assert row["graphs"] > 1
    assert "error" not in row


def test_a_print_runs_on_the_meta_device_and_prints_nothing(capsys: pytest.CaptureFixture[str]):
    row = explained("broken_pipelines:prints")
    (each,) = row["breaks"]
    assert (each["id"], each["file"], each["line"]) == ("GB0059", str(PLANTED), line_of(broken_pipelines.PRINT))
    assert each["count"] == 2
    assert (row["device"], row["depth"]) == ("meta", "full")
    assert capsys.readouterr().out == ""


def test_a_branch_on_a_tensor():
    (each,) = explained("broken_pipelines:branch")["breaks"]
    assert (each["id"], each["reason"]) == ("GB0170", "Data-dependent branching")
    assert (each["function"], each["line"]) == ("check", line_of(broken_pipelines.BRANCH))


def test_a_numpy_function_that_dynamo_cannot_trace():
    row = explained("broken_pipelines:numpy_unwrap")
    (each,) = row["breaks"]
    assert (each["id"], each["line"], each["count"]) == ("GB0294", line_of(broken_pipelines.NUMPY), 1)
    assert "Cannot copy out of meta tensor" in row["meta_error"]


def test_numpy_that_dynamo_traces_is_no_break():
    row = explained("broken_pipelines:numpy_positions")
    assert (row["breaks"], row["graphs"], row["device"]) == ([], 1, "cpu")


def test_a_part_that_raises_says_so_in_its_own_row():
    row = explained("broken_pipelines:raising", vary=("size",))
    assert row["error"] == "ArithmeticError: this transformer never works"
    assert row["recompiles"] == []
    whole = explained("broken_pipelines:raising", "text_encoder_2")
    assert (whole["graphs"], whole["breaks"], "error" in whole) == (1, [], False)


def test_a_pipeline_that_takes_no_device_is_traced_where_it_is():
    row = explained("broken_pipelines:on_the_cpu", "text_encoder")
    assert (row["device"], row["depth"], row["graphs"], row["breaks"]) == ("cpu", "full", 1, [])


@pytest.mark.parametrize("function", ["unknown", "not_on_meta"])
def test_inputs_of_an_unknown_class_are_seen_in_one_call(function: str):
    row = explained(f"broken_pipelines:{function}", vary=("size", "batch"))
    (each,) = row["breaks"]
    assert (each["id"], each["file"]) == ("GB0025", str(PLANTED))
    (recompile,) = row["recompiles"]
    assert recompile["guard"] == "tensor 'latents' size mismatch at index 1. expected 16, actual 25"
    assert row["device"] == "cpu"


def test_the_guard_that_another_size_fails():
    row = explained("flux-tiny", vary=("size",))
    assert (row["graphs"], row["breaks"]) == (1, [])
    (each,) = row["recompiles"]
    assert each["guard"].startswith("tensor 'kwargs['hidden_states']' size mismatch at index 1. expected 16, actual 25")
    assert {name: each[name] for name in ("vary", "from", "to", "third", "third_guard", "count")} == {
        "vary": "size",
        "from": "64x64",
        "to": "80x80",
        "third": "96x96",
        "third_guard": None,
        "count": 1,
    }


def test_a_prompt_is_encoded_once_whatever_the_batch():
    row = explained("flux-tiny", "text_encoder", vary=("batch", "size"))
    assert (row["graphs"], row["recompiles"]) == (1, [])


def test_values_to_vary():
    image, video = (RunSpec(model="m", height=1024, width=768, frames=frames) for frames in (None, 49))
    assert [label(each, "size") for each in varied(image, "size", 16, 4)] == ["1024x768", "1280x960", "1536x1152"]
    assert [label(each, "batch") for each in varied(image, "batch", 16, 4)] == ["1", "2", "3"]
    assert [label(each, "frames") for each in varied(video, "frames", 16, 8)] == ["49", "57", "65"]
    with pytest.raises(UsageError, match="makes images"):
        varied(image, "frames", 16, 8)


def test_an_unknown_part_lists_the_parts_there_are():
    parts, _, _ = find_parts(find_model("flux-tiny"), RunSpec(model="flux-tiny"))
    with pytest.raises(UsageError, match="no part called unet") as caught:
        select(parts, ["transformer", "unet"])
    assert caught.value.hint == "it has: transformer, vae, text_encoder, text_encoder_2"


def test_a_function_that_raises_everywhere_is_named():
    with pytest.raises(RecordedProgramFailed, match="not_built raised ArithmeticError: no pipeline today"):
        find_parts(find_model("broken_pipelines:not_built"), RunSpec(model="m"))


def encoder_on_meta(layers: int) -> Any:
    with torch.device("meta"):
        return text.t5_encoder(vocab_size=64, d_model=64, d_kv=16, d_ff=128, num_layers=layers, num_heads=4)


def test_repeated_blocks_are_cut_and_the_rest_runs():
    encoder = encoder_on_meta(5)
    # The first block of T5 alone holds the relative positions.
    assert explain_cut.cut_to_cpu(encoder, 0, "text_encoder") == "2 of 5 encoder.block"
    assert encoder.encoder.embed_tokens.weight is encoder.shared.weight
    with torch.no_grad():
        hidden = encoder(**text.encoder_inputs(encoder, 8)).last_hidden_state
    assert hidden.shape == (1, 8, 64)
    assert torch.isfinite(hidden).all()


def test_blocks_that_differ_are_kept():
    with torch.device("meta"):
        layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 8), torch.nn.Linear(8, 8)])
    assert explain_cut.cut_to_cpu(torch.nn.ModuleDict({"layers": layers}), 0, "x") == "every block"
    assert len(layers) == 3


def test_what_does_not_fit_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(explain_cut, "_free_bytes", lambda: 1000)
    with pytest.raises(Refused, match="to run on the CPU"):
        explain_cut.cut_to_cpu(encoder_on_meta(2), 0, "text_encoder")
