"""`record --tuned`: which Linear gets which kernel, that the kernel runs, and that its sums are torchao's, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import QUICK, diffuscope, recorded, show
from torchao.quantization.quantize_.common import _choose_quant_func_and_quantize_tensor as quantize_activations

from profiler.core.errors import Refused, UnreadableInput
from profiler.core.spec import RunSpec
from profiler.kernels import int_scaled_matmul_cpu
from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry, TableKey, save_merged, table_of
from profiler.recording import tuned
from profiler.recording.tuned import apply_tuned, current_key, refuse_tuned
from profiler.schemes.apply import quantize
from profiler.schemes.base import Hardware, LinearPlan
from profiler.schemes.tuned import kernel_of

CPU = Hardware("cpu")
ROWS, IN, OUT = 64, 96, 48


def entries_of(kernel: str, us: float = 1.0, untuned_us: float | None = None) -> dict[Shape, Entry]:
    return {Shape(ROWS, IN, OUT): Entry(kernel=kernel, us=us, untuned_us=untuned_us)}


def table_at(path: Path, entries: dict[Shape, Entry], key: TableKey | None = None) -> str:
    save_merged(path, table_of(key or current_key(CPU), entries))
    return str(path)


class Pipe:
    """A pipeline of one quantized Linear that is tuned, and one of few rows that is not."""

    def __init__(self, *, bias: bool = True) -> None:
        torch.manual_seed(0)
        self.transformer = torch.nn.Module()
        self.transformer.wide = torch.nn.Linear(IN, OUT, bias=bias, dtype=torch.bfloat16)
        self.transformer.thin = torch.nn.Linear(IN, OUT, dtype=torch.bfloat16)
        self.plans = [
            LinearPlan("transformer.wide", IN, OUT, ROWS, "int8dq"),
            LinearPlan("transformer.thin", IN, OUT, 1, "int8wo", "M = 1"),
        ]
        quantize(self.transformer, self.plans, prefix="transformer.", torchao_defaults=False)

    def tune(self, asked: str) -> tuned.Tuned:
        return apply_tuned(RunSpec(model="m", scheme="int8dq", tuned=asked), CPU, self, self.plans)


def reference(linear: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """torchao's int32 sums, and what they come to in float64."""
    quantized = quantize_activations(x, linear.weight.act_quant_kwargs)
    sums = quantized.qdata.reshape(-1, IN).int() @ linear.weight.qdata.t().int()
    bias = 0 if linear.bias is None else linear.bias.double()
    exact = sums.double() * quantized.scale.reshape(-1, 1).double() * linear.weight.scale.reshape(1, -1).double()
    return sums, exact + bias


@pytest.mark.parametrize("kernel", ["cpu:s8s8", "cpu:u8s8", "cpu:dequantize"])
@pytest.mark.parametrize("bias", [True, False])
def test_tuned_results_are_the_exact_ones_within_rounding(tmp_path: Path, kernel: str, bias: bool):
    pipe, x = Pipe(bias=bias), torch.randn(2, ROWS // 2, IN, dtype=torch.bfloat16)
    untuned = pipe.transformer.wide(x)
    applied = pipe.tune(table_at(tmp_path / "t.json", entries_of(kernel)))
    assert applied.kernels == {"transformer.wide": kernel}
    out = pipe.transformer.wide(x)
    _, exact = reference(pipe.transformer.wide, x)
    exact = exact.reshape(out.shape)
    assert (out.dtype, out.shape) == (torch.bfloat16, (2, ROWS // 2, OUT))
    size = exact.abs() + 1.0
    assert ((out.double() - exact).abs() / size).max() < 2.0**-7
    # One rounding, where torchao has two: never further from the exact result than half a step of bf16.
    assert ((out.double() - exact).abs() / exact.abs().clamp_min(1e-3)).max() <= 2.0**-8 * 1.01
    assert ((untuned.double() - exact).abs() / size).max() < 2.0**-6


@pytest.mark.parametrize("kernel", ["cpu:s8s8", "cpu:u8s8"])
def test_the_int32_sums_are_torchaos_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str):
    pipe, x = Pipe(), torch.randn(ROWS, IN, dtype=torch.bfloat16)
    pipe.tune(table_at(tmp_path / "t.json", entries_of(kernel)))
    inner, seen = int_scaled_matmul_cpu._SUMS[kernel.removeprefix("cpu:")], []

    def watch(a: Any, b: Any) -> Any:
        seen.append(inner(a, b).clone())
        return seen[-1]

    monkeypatch.setitem(int_scaled_matmul_cpu._SUMS, kernel.removeprefix("cpu:"), watch)
    pipe.transformer.wide(x)
    (sums,) = seen
    assert sums.dtype == torch.int32
    assert torch.equal(sums, reference(pipe.transformer.wide, x)[0])


def test_it_compiles_as_one_graph_and_gives_the_same(tmp_path: Path):
    pipe, x = Pipe(), torch.randn(ROWS, IN, dtype=torch.bfloat16)
    pipe.tune(table_at(tmp_path / "t.json", entries_of("cpu:u8s8")))
    seen: list[str] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        seen.extend(str(each.target) for each in graph.graph.nodes)
        return graph

    compiled = torch.compile(pipe.transformer.wide, fullgraph=True, backend=backend)
    assert torch.equal(compiled(x), pipe.transformer.wide(x))
    assert any("diffuscope.int_scaled_matmul" in each for each in seen)


def test_its_graph_may_be_kept_on_disk(tmp_path: Path):
    """By the check that AOTAutograd's cache makes before it looks for a graph."""
    from torch._functorch._aot_autograd.autograd_cache import BypassAOTAutogradCache, check_cacheable

    def refusal(linear: Any) -> str:
        seen: list[str] = []

        def backend(graph: Any, _inputs: Any) -> Any:
            try:
                check_cacheable(graph)
            except BypassAOTAutogradCache as error:
                seen.append(str(error))
            return graph

        torch.compile(linear, fullgraph=True, backend=backend)(torch.randn(ROWS, IN, dtype=torch.bfloat16))
        return "".join(seen)

    class Wrapping(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return quantize_activations(x, self.weight.act_quant_kwargs).qdata

    pipe = Pipe()
    pipe.tune(table_at(tmp_path / "t.json", entries_of("cpu:s8s8")))
    assert refusal(pipe.transformer.wide) == ""
    pipe.transformer.wide.__class__ = Wrapping
    assert "Int8Tensor" in refusal(pipe.transformer.wide), "the check sees a tensor of torchao's made in the graph"


@pytest.mark.parametrize("own", [None, "/own"])
def test_compiled_kernels_lie_where_inductor_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", "restored at the end")
    monkeypatch.delenv("TRITON_CACHE_DIR")
    if own:
        monkeypatch.setenv("TRITON_CACHE_DIR", own)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    tuned.settle_kernel_cache()
    assert os.environ["TRITON_CACHE_DIR"] == (own or str(tmp_path / "triton" / "1"))


def test_what_gets_a_kernel(tmp_path: Path):
    pipe = Pipe()
    assert type(pipe.transformer.wide).__name__ == "Linear"
    applied = pipe.tune(table_at(tmp_path / "t.json", entries_of("cpu:s8s8")))
    assert type(pipe.transformer.wide).__name__ == "TunedLinear"
    assert type(pipe.transformer.thin).__name__ == "WeightOnlyLinear"
    assert (applied.tables, applied.notes) == ([str(tmp_path / "t.json")], ["1 of 1 int8dq Linears run tuned kernels"])


def test_no_entry_no_gain_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    other = {Shape(ROWS, IN, OUT + 8): Entry(kernel="cpu:s8s8", us=1.0)}
    assert Pipe().tune(table_at(tmp_path / "other.json", other)).kernels == {}
    slower = Pipe().tune(table_at(tmp_path / "slow.json", entries_of("cpu:s8s8", us=9.0, untuned_us=8.0)))
    assert slower.kernels == {}
    assert slower.notes == [f"0 of 1 int8dq Linears run tuned kernels; without one (not tuned, or no gain): {ROWS}x{IN}x{OUT}"]
    assert "no table of tuned kernels fits this device" in Pipe().tune("auto").notes[0]
    assert Pipe().tune("off") == tuned.Tuned()


def test_auto_takes_the_nearest_kernel_and_a_file_only_its_own_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = tmp_path / "own.json"
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(own))
    table_at(
        own, {Shape(4 * ROWS, IN, OUT): Entry(kernel="cpu:u8s8", us=1.0), Shape(ROWS, IN, 8): Entry(kernel="cpu:s8s8", us=1.0)}
    )
    pipe, x = Pipe(), torch.randn(ROWS, IN, dtype=torch.bfloat16)
    applied = pipe.tune("auto")
    assert applied.kernels == {"transformer.wide": "cpu:u8s8"}
    assert applied.nearest == {"transformer.wide": f"{4 * ROWS}x{IN}x{OUT}"}
    assert applied.notes[0] == "1 of 1 int8dq Linears run tuned kernels"
    assert f"{ROWS}x{IN}x{OUT} that of {4 * ROWS}x{IN}x{OUT}" in applied.notes[1]
    _, exact = reference(pipe.transformer.wide, x)
    assert ((pipe.transformer.wide(x).double() - exact).abs() <= 2.0**-8 * 1.01 * exact.abs().clamp_min(1e-3)).all()
    for asked in (str(own), "off"):
        left = Pipe().tune(asked)
        assert (left.kernels, left.nearest) == ({}, {})


def test_a_shape_of_its_own_is_not_marked_as_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    table_at(tmp_path / "own.json", entries_of("cpu:s8s8") | {Shape(ROWS + 1, IN, OUT): Entry(kernel="cpu:u8s8", us=1.0)})
    applied = Pipe().tune("auto")
    assert (applied.kernels, applied.nearest) == ({"transformer.wide": "cpu:s8s8"}, {})
    assert applied.notes == ["1 of 1 int8dq Linears run tuned kernels"]


def test_a_table_of_unknown_kernels_is_refused_before_anything_loads(tmp_path: Path):
    table = table_at(tmp_path / "t.json", entries_of("hopper:block_m=128"))
    with pytest.raises(UnreadableInput, match="names 'hopper:block_m=128' for 64x96x48, which is no kernel of a cpu device"):
        refuse_tuned(RunSpec(model="m", scheme="int8dq", tuned=table), CPU)


def test_only_int8dq_gets_kernels():
    entries = {Shape(ROWS, IN, OUT): Entry(kernel="k", us=1.0), Shape(1, IN, OUT): Entry(kernel="k", us=1.0)}
    assert kernel_of(LinearPlan("m", IN, OUT, ROWS, "int8dq"), entries) == "k"
    assert kernel_of(LinearPlan("m", IN, OUT, ROWS, "int8wo"), entries) is None
    assert kernel_of(LinearPlan("m", IN, OUT, 1, "int8wo"), entries) is None
    assert kernel_of(LinearPlan("m", IN, OUT, ROWS + 1, "int8dq"), entries) is None
    assert kernel_of(LinearPlan("m", IN, OUT, None, "int8dq"), entries) is None


def test_the_key_names_processor_and_versions():
    key = current_key(CPU)
    assert key.torch == str(torch.__version__)
    assert key.device.endswith(f"{torch.get_num_threads()} thread" + ("s" if torch.get_num_threads() > 1 else ""))
    assert current_key(Hardware("cuda", (9, 0), "NVIDIA H100")).device == "NVIDIA H100"


def test_cuda_without_triton_is_refused_where_a_table_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuned, "triton_version", lambda: "")
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    h100 = Hardware("cuda", (9, 0), "NVIDIA H100")
    with pytest.raises(Refused, match="--tuned needs Triton on a CUDA device"):
        refuse_tuned(RunSpec(model="m", scheme="int8dq", tuned="t.json"), h100)
    refuse_tuned(RunSpec(model="m", scheme="int8dq"), h100)
    refuse_tuned(RunSpec(model="m", scheme="bf16", tuned="t.json"), h100)
    pipe = Pipe()
    applied = apply_tuned(RunSpec(model="m", scheme="int8dq"), h100, pipe, pipe.plans)
    assert (applied.kernels, applied.notes) == (
        {},
        ["there is no Triton, which tuned kernels need: int8dq runs torchao's own product"],
    )


RECORD = ("flux-tiny", *QUICK, "--scheme", "int8dq")


@pytest.fixture(scope="module")
def tiny_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two shapes of the tiny Flux at 64 px, for the one thread that recorded processes run on."""
    import subprocess
    import sys

    from processes import ROOT, environment

    path = tmp_path_factory.mktemp("table") / "t.json"
    code = (
        "import sys; from pathlib import Path; from profiler.recording.tuned import current_key\n"
        "from profiler.kernels.tuned import *; from profiler.kernels.candidate import Shape\n"
        "from profiler.schemes.base import Hardware\n"
        "entries = {Shape(16, 64, 64): 'cpu:u8s8', Shape(80, 64, 64): 'cpu:s8s8', Shape(64, 64, 64): 'cpu:u8s8'}\n"
        "entries = {shape: Entry(kernel=kernel, us=1.0) for shape, kernel in entries.items()}\n"
        "save_merged(Path(sys.argv[1]), table_of(current_key(Hardware('cpu')), entries))"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, env=environment(), check=True, capture_output=True)
    return path


def test_a_recorded_run_lists_the_kernel_of_each_layer(tiny_table: Path):
    run = recorded(*RECORD, "--tuned", str(tiny_table))
    assert run.done.returncode == 0, run.done.stderr
    applied = run.manifest["applied"]
    kernels = {each["module"]: each["kernel"] for each in applied["linears"]}
    by_rows = {
        (each["rows"], each["in_features"], each["out_features"], each["scheme"]): each["kernel"] for each in applied["linears"]
    }
    assert by_rows[80, 64, 64, "int8dq"] == "cpu:s8s8"
    assert by_rows[64, 64, 64, "int8dq"] == "cpu:u8s8"
    assert {kernel for (_, _, _, scheme), kernel in by_rows.items() if scheme == "int8wo"} == {None}
    assert kernels["transformer.transformer_blocks.0.attn.add_q_proj"] == "cpu:u8s8"
    assert {each["nearest"] for each in applied["linears"]} == {None}
    assert applied["tuned_tables"] == [str(tiny_table)]
    assert any("int8dq Linears run tuned kernels" in each for each in applied["notes"])
    names = {each["name"] for each in show(run.path)["kernels"]}
    assert "diffuscope::int_scaled_matmul" in names, "the trace shows that it ran"


def test_its_output_is_the_untuned_one_within_rounding(tiny_table: Path, tmp_path: Path):
    import numpy as np

    tuned_run = recorded(*RECORD, "--tuned", str(tiny_table))
    plain_run = recorded(*RECORD, "--tuned", "off")
    assert {each["kernel"] for each in plain_run.manifest["applied"]["linears"]} == {None}
    one, other = (np.load(run.path / "output.npz")["last_transformer_output"] for run in (tuned_run, plain_run))
    assert not np.array_equal(one, other), "another kernel ran: it rounds once less"
    assert np.abs(one - other).max() < 0.03 * np.abs(other).max()


WRONG = {
    "another scheme": (("--scheme", "bf16", "--tuned", "t.json"), "only scheme int8dq has kernels to tune", "--scheme int8dq"),
    "no file": (("--scheme", "int8dq", "--tuned", "t.json"), "t.json is no file", "diffuscope tune"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_exit_2(tmp_path: Path, case: str):
    arguments, message, hint = WRONG[case]
    done = diffuscope("record", "flux-tiny", *QUICK, *arguments, "-o", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert hint in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_table_of_another_device_is_refused_before_anything_loads(tmp_path: Path):
    table = table_at(tmp_path / "t.json", entries_of("k"), TableKey(device="NVIDIA A100", torch="2.11.0+cu130", triton="3.6.0"))
    done = diffuscope("record", "flux-tiny", *QUICK, "--scheme", "int8dq", "--tuned", table, "-o", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "was tuned for NVIDIA A100, torch 2.11.0+cu130, triton 3.6.0, kernels " in done.stderr
    assert not (tmp_path / "run").exists()
