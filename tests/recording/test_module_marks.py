"""Marks name the module that runs, make dynamo compile nothing, and leave nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pipelines
import pytest
import torch
from fake_cuda import FakeAllocator
from processes import Recorded
from torch import nn

from profiler.recording.compile_counts import count_compiles
from profiler.recording.marks import marked
from profiler.recording.module_marks import marked_modules, module_mark
from profiler.recording.weights import components

CALL: dict[str, Any] = {"prompt": "a cat", "num_inference_steps": 1, "height": 64, "width": 64, "max_sequence_length": 64}
BLOCKS = [f"transformer.{kind}.{index}" for kind in ("transformer_blocks", "single_transformer_blocks") for index in (0, 1)]


class Notes:
    """A mark that notes what was entered, and that everything is left in the order in which it must be."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.entered: list[str] = []
        self.stacks: set[tuple[str, ...]] = set()

    @contextmanager
    def __call__(self, path: str) -> Iterator[None]:
        self.open.append(path)
        self.entered.append(path)
        self.stacks.add(tuple(self.open))
        yield
        assert self.open.pop() == path


@pytest.fixture
def pipe(one_thread: None) -> Iterator[Any]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    made = pipelines.tiny()
    made.set_progress_bar_config(disable=True)
    yield made
    torch._dynamo.reset()


def call(pipe: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = pipe(**CALL, generator=torch.Generator().manual_seed(0), output_type="pt").images
    return result


def state(pipe: Any) -> dict[str, Any]:
    """Everything of a pipeline that marks touch."""
    found: dict[str, Any] = {"scheduler": "step" in vars(pipe.scheduler), "pipe": set(vars(pipe))}
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")
    for name, part in components(pipe).items():
        for path, module in part.named_modules(prefix=name):
            own = {key: each for key, each in vars(module).items() if not key.startswith(("_forward", "_modules", "_param"))}
            found[path] = own, [list(getattr(module, each)) for each in hooks]
    return found


def test_each_module_that_runs_is_marked_inside_its_callers(pipe: Any):
    plain = call(pipe)
    before, notes = state(pipe), Notes()
    with marked_modules(pipe, notes), marked(pipe):
        assert torch.equal(call(pipe), plain)
    attention = "transformer.transformer_blocks.1.attn"
    assert ("transformer", "transformer.transformer_blocks.1", attention, f"{attention}.to_q") in notes.stacks
    assert ("vae", "vae.decoder", "vae.decoder.conv_in") in notes.stacks
    assert ("scheduler",) in notes.stacks
    assert {path.partition(".")[0] for path in notes.entered} == {*components(pipe), "scheduler"}
    assert notes.entered.count(f"{attention}.to_q") == notes.entered.count("scheduler") == 1
    linears = {path for path, each in pipe.transformer.named_modules(prefix="transformer") if isinstance(each, nn.Linear)}
    assert linears <= set(notes.entered)
    assert notes.open == []
    assert state(pipe) == before


def inside(path: str, regions: list[str]) -> bool:
    return any(path.replace("._orig_mod", "").startswith(region + ".") for region in regions)


def in_place(pipe: Any, backend: str) -> list[str]:
    for kind in (pipe.transformer.transformer_blocks, pipe.transformer.single_transformer_blocks):
        for block in kind:
            block.compile(backend=backend)
    return BLOCKS


def whole(pipe: Any, backend: str) -> list[str]:
    pipe.transformer.compile(backend=backend)
    return ["transformer"]


def nested(pipe: Any, backend: str) -> list[str]:
    in_place(pipe, backend)
    return whole(pipe, backend)


def wrapped(pipe: Any, backend: str) -> list[str]:
    pipe.transformer = torch.compile(pipe.transformer, backend=backend)
    return ["transformer"]


def wrapped_block(pipe: Any, backend: str) -> list[str]:
    pipe.transformer.transformer_blocks[1] = torch.compile(pipe.transformer.transformer_blocks[1], backend=backend)
    return BLOCKS[1:2]


def its_forward(pipe: Any, backend: str) -> list[str]:
    pipe.transformer.forward = torch.compile(pipe.transformer.forward, backend=backend)
    return ["transformer"]


def decode(pipe: Any, backend: str) -> list[str]:
    pipe.vae.decode = torch.compile(pipe.vae.decode, backend=backend)
    return ["vae"]


def with_a_break(pipe: Any, backend: str) -> list[str]:
    block = pipe.transformer.transformer_blocks[0]
    block.attn.to_q.register_forward_pre_hook(lambda *_: torch._dynamo.graph_break())
    block.compile(backend=backend)
    return BLOCKS[:1]


WAYS = [(way, "eager") for way in (in_place, whole, nested, wrapped, wrapped_block, its_forward, decode, with_a_break)]


@pytest.mark.parametrize(("way", "backend"), [*WAYS, (in_place, "aot_eager")], ids=lambda each: getattr(each, "__name__", each))
def test_compiled_code_stays_as_it_is(pipe: Any, way: Callable[[Any, str], list[str]], backend: str):
    regions = way(pipe, backend)
    plain = call(pipe)
    call(pipe)
    before, counts, notes = state(pipe), count_compiles(), Notes()
    assert counts["graphs"] > 0
    assert (counts["graph_breaks"] > 0) == (way is with_a_break)
    with marked_modules(pipe, notes), marked(pipe):
        assert torch.equal(call(pipe), plain)
    assert count_compiles() == counts
    with marked_modules(pipe, notes):
        assert {path for path, each in state(pipe).items() if each != before[path] and inside(path, regions)} == set()
        call(pipe)
    call(pipe)
    assert count_compiles() == counts
    assert state(pipe) == before
    assert set(regions) <= set(notes.entered)
    assert [path for path in notes.entered if inside(path, regions)] == []
    assert [path for path in notes.entered if "_orig_mod" in path] == []
    if regions != ["transformer"]:
        assert "transformer.x_embedder" in notes.entered


def test_a_region_that_nobody_can_see_is_not_compiled_again(pipe: Any):
    compiled = torch.compile(pipe.transformer.forward, backend="eager")

    def forward(*args: Any, **kwargs: Any) -> Any:
        return compiled(*args, **kwargs)

    pipe.transformer.forward = forward
    plain = call(pipe)
    counts, notes = count_compiles(), Notes()
    with marked_modules(pipe, notes):
        assert torch.equal(call(pipe), plain)
    assert count_compiles() == counts
    assert "transformer" in notes.entered


@pytest.mark.parametrize("error", [ArithmeticError("no"), KeyboardInterrupt(), torch.OutOfMemoryError("CUDA out of memory")])
def test_nothing_stays_after_an_error(pipe: Any, error: BaseException):
    in_place(pipe, "eager")
    call(pipe)

    def fail(*_: Any) -> None:
        raise error

    handle = pipe.transformer.x_embedder.register_forward_pre_hook(fail)
    before, notes = state(pipe), Notes()
    with pytest.raises(type(error)), marked_modules(pipe, notes):
        call(pipe)
    assert notes.entered[-2:] == ["transformer", "transformer.x_embedder"]
    assert notes.open == []
    assert state(pipe) == before
    handle.remove()


def test_an_error_that_the_pipeline_handles_leaves_the_marks_in_order():
    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 3), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.second(self.first(x))
            except RuntimeError:
                return self.second(x)

    notes, pipe = Notes(), Holder(transformer=Tries())
    with marked_modules(pipe, notes):
        pipe.transformer(torch.ones(1, 2))
        assert notes.open == []
    assert notes.entered == ["transformer", "transformer.first", "transformer.second", "transformer.second"]
    assert all(len(stack) <= 2 for stack in notes.stacks)


def test_an_interruption_that_a_module_handles_ends_with_it():
    class Stubborn(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with contextlib.suppress(KeyboardInterrupt):
                return super().forward(x)
            return x

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    notes, model = Notes(), nn.Sequential(Stubborn(nn.Linear(2, 2)), nn.ReLU())
    model[0][0].register_forward_hook(interrupt)
    with marked_modules(Holder(transformer=model), notes):
        model(torch.ones(1, 2))
        assert notes.open == []
    assert notes.stacks == {
        ("transformer",),
        ("transformer", "transformer.0"),
        ("transformer", "transformer.0", "transformer.0.0"),
        ("transformer", "transformer.1"),
    }


class Holder:
    """The least that has components."""

    def __init__(self, **parts: Any) -> None:
        self.components = parts
        vars(self).update(parts)


def test_a_forward_that_changes_hands_during_the_call_keeps_its_last_owner():
    """An offload puts forwards of its own in place, and puts new ones in place at the end of each call."""
    linear, notes = nn.Linear(2, 2), Notes()
    first, second = (lambda x: type(linear).forward(linear, x) for _ in range(2))
    linear.forward = first
    with marked_modules(Holder(transformer=linear), notes):
        linear(torch.ones(1, 2))
        linear.forward = second
    assert linear.forward is second
    assert notes.entered == ["transformer"]


def test_modules_that_must_not_have_hooks_are_marked_from_outside():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    script = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    shared = nn.Linear(2, 2)
    notes, pipe = Notes(), Holder(text_encoder=layer, vae=script, transformer=nn.Sequential(shared), other=shared)
    with marked_modules(pipe, notes):
        assert not any(each._forward_hooks or each._forward_pre_hooks for each in layer.modules())
        layer(torch.ones(1, 3, 8))
        script(torch.ones(1, 2))
        shared(torch.ones(1, 2))
    assert notes.entered == ["text_encoder", "vae", "transformer.0"]
    assert "_compiled_call_impl" not in vars(layer)


def test_a_disabled_function_is_no_compiled_one():
    class Disabled(nn.Sequential):
        @torch._dynamo.disable
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)

    notes, module = Notes(), Disabled(nn.Linear(2, 2))
    with marked_modules(Holder(transformer=module), notes):
        module(torch.ones(1, 2))
    assert notes.entered == ["transformer", "transformer.0"]


def test_the_scheduler_step_keeps_its_signature(pipe: Any):
    import inspect

    before = inspect.signature(pipe.scheduler.step)
    with marked_modules(pipe, Notes()):
        assert inspect.signature(pipe.scheduler.step) == before
        assert inspect.signature(pipe.vae.decode) == inspect.signature(type(pipe.vae).decode.__get__(pipe.vae))


def test_cuda_allocations_carry_the_path(monkeypatch: pytest.MonkeyPatch):
    allocator = FakeAllocator()
    allocator.install(monkeypatch)
    mark = module_mark("cuda")
    assert mark is not None
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    model[1][0].register_forward_hook(lambda *_: allocator.allocate(7))
    allocator.record()
    with marked_modules(Holder(transformer=model), mark):
        model(torch.ones(1, 2))
        allocator.allocate(8)
    assert [(each["size"], each["user_metadata"]) for each in allocator.events] == [(7, "transformer.1.0"), (8, "")]
    outer = ["transformer", "transformer.0", "transformer", "transformer.1", "transformer.1.0", "transformer.1", "transformer"]
    assert allocator.seen == [*outer, ""]
    monkeypatch.delattr(torch.cuda.memory, "_set_memory_metadata")
    assert module_mark("cuda") is None


def test_a_cpu_run_has_a_range_for_each_module(eager_run: Recorded):
    events = eager_run.json("rank0/memory.json.gz")["traceEvents"]
    ranges = [each for each in events if each["name"].startswith("diffuscope/module/")]
    paths = [each["name"].removeprefix("diffuscope/module/") for each in ranges]
    assert paths.count("transformer.transformer_blocks.0.attn.to_q") == paths.count("scheduler") == 2
    assert paths.count("vae") == paths.count("text_encoder") == paths.count("text_encoder_2") == 1
    (decoder,) = (each for each in ranges if each["name"].endswith("/vae.decoder"))
    allocations = [each["ts"] for each in events if each["name"] == "[memory]" and each["args"]["Bytes"] > 0]
    assert sum(decoder["ts"] <= ts <= decoder["ts"] + decoder["dur"] for ts in allocations) > 20
    for name in ("trace.json.gz", "places.json.gz"):
        assert not any(each["name"].startswith("diffuscope/module") for each in eager_run.json(f"rank0/{name}")["traceEvents"])
    assert eager_run.phase("memory")["detail"]["compiled_graphs"] == 0


def test_a_compiled_run_compiles_nothing_for_its_marks(compiled_run: Recorded):
    assert compiled_run.phase("memory")["detail"]["compiled_graphs"] == 0
    events = compiled_run.json("rank0/memory.json.gz")["traceEvents"]
    paths = {each["name"].removeprefix("diffuscope/module/") for each in events if each["name"].startswith("diffuscope/module/")}
    assert {path for path in paths if path.startswith(tuple(BLOCKS))} == set(BLOCKS)
    assert {"transformer.x_embedder", "transformer", "vae.decoder.conv_in"} <= paths
