"""From a spec to a pipeline that is ready to be called: load, quantize, compile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.compilers.base import COMPILERS, Compiler, refuse_machine
from profiler.core.errors import Refused, UsageError
from profiler.core.plan_file import content_hash
from profiler.core.spec import RunSpec
from profiler.models.base import Model
from profiler.models.parts import refuse_sizes, rows_of_a_part
from profiler.models.random_weights import empty_weights
from profiler.models.user import refuse_absent, refuse_no_pipeline
from profiler.placement.base import OFFLOADS, Offload, refuse_placement
from profiler.placement.quantized import move_without_swapping
from profiler.placement.resident import count_hooks
from profiler.placement.vae import apply_vae, describe_vae, vae_notes
from profiler.recording.compile_counts import keep_every_compile
from profiler.recording.tuned import Tuned, refuse_tuned
from profiler.recording.weights import components
from profiler.schemes.apply import list_linears, quantize
from profiler.schemes.base import Hardware, LinearPlan, Scheme, refuse_hardware, refuse_installation
from profiler.schemes.plan import PlanScheme, find_scheme, refuse_other_model, refuse_strangers, with_known_configs
from profiler.schemes.policy import LEFT, plan_linears

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass(frozen=True)
class Plan:
    """A spec with its parts looked up."""

    spec: RunSpec
    model: Model
    scheme: Scheme
    compiler: Compiler
    hardware: Hardware
    offload: Offload

    @property
    def device(self) -> str:
        """ "cuda" or "cpu"."""
        return self.hardware.device


def refuse_early(plan: Plan) -> None:
    """Everything that this machine cannot do, before anything loads.

    Raises:
        Refused: with what is missing and what would work here.
    """
    refuse_other_model(plan.scheme, plan.spec.model)
    refuse_hardware(plan.scheme, plan.hardware)
    refuse_installation(plan.scheme, plan.hardware)
    refuse_machine(plan.compiler, plan.device)
    spec = plan.spec
    refuse_placement(plan.offload, plan.device, spec.compile, compiles_vae=spec.compile_vae)
    if ":" in spec.model:
        refuse_absent(spec.model)
    if spec.weights is not None and plan.model.load is None:
        raise Refused("--weights is for the registered models", f"let {spec.model} load its own weights")
    if spec.weights is not None and spec.weights.startswith(("/", ".", "~")) and not Path(spec.weights).is_dir():
        raise UsageError(f"--weights {spec.weights} is no directory", "give one that save_pretrained wrote, or a repository")
    if plan.device == "cpu" and spec.quantize_on == "per-layer":
        raise Refused("--quantize-on per-layer moves each weight to a GPU, and there is none here", "leave it out")
    if plan.device == "cuda" and spec.inductor_defaults == "torchao" and spec.scheme == "int8wo" and spec.compile != "none":
        raise Refused(
            "int8wo compiled with torchao's Inductor switches becomes a GEMM hundreds of times slower than eager",
            "leave out --inductor-defaults torchao",
        )
    refuse_tuned(spec, plan.hardware)


def load(plan: Plan) -> Any:
    """Build or load the pipeline where quantizing wants it: on the device, or on the CPU first (under an offload always)."""
    import torch

    spec, model = plan.spec, plan.model
    dtype = getattr(torch, plan.scheme.base_dtype)
    device = plan.device if spec.quantize_on == "device" and not plan.offload.offloads else "cpu"
    if spec.weights is None:
        _refuse_strangers_early(plan, dtype)
        pipe = model.build(device, dtype, spec.seed)
        if ":" not in spec.model:
            return pipe
        refuse_no_pipeline(spec.model, pipe)
        _refuse_no_transformer(plan, pipe)
        return pipe.to(device)
    assert model.load is not None  # refused early
    return model.load(spec.weights, dtype).to(device)


def _refuse_strangers_early(plan: Plan, dtype: Any) -> None:
    """A plan for layers that a registered model has not, before weights are drawn: its modules on the meta device say it.

    Real weights may be of another size than the registered model, a user's pipeline of any: those are asked when they are there.
    """
    if not isinstance(plan.scheme, PlanScheme) or plan.model.components is None:
        return
    with empty_weights("meta", dtype):
        parts = plan.model.components()
    if plan.spec.fuse_qkv:
        parts["transformer"].fuse_qkv_projections()
    found = [list_linears(parts[name], {}, (), prefix=f"{name}.") for name in _targets(plan, parts)]
    refuse_strangers(plan.scheme, {each.module for part in found for each in part})


def _refuse_no_transformer(plan: Plan, pipe: Any) -> None:
    """A pipeline around another kind of model (a UNet) is recorded as it is built, and not as if it were changed."""
    if getattr(pipe, "transformer", None) is not None:
        return
    spec = plan.spec
    asked = {
        f"--scheme {spec.scheme}": plan.scheme.quantizes,
        f"--compile {spec.compile}": plan.compiler.name != "none",
        "--fuse-qkv": spec.fuse_qkv,
        "--channels-last": spec.channels_last,
    }
    option = next((name for name, given in asked.items() if given), None)
    if option:
        raise UsageError(
            f"{option} works on a pipeline's transformer, and {spec.model} has none",
            f"quantize and compile inside {spec.model}, and leave {option} out",
        )


def shape_weights(plan: Plan, pipe: Any) -> None:
    """What must happen before quantizing: fuse QKV, memory format."""
    import torch

    if plan.spec.fuse_qkv:
        pipe.transformer.fuse_qkv_projections()
    if plan.spec.channels_last:
        for module in (pipe.transformer, pipe.vae):
            for parameter in module.parameters():
                formats = {4: torch.channels_last, 5: torch.channels_last_3d}
                if parameter.dim() in formats:
                    parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])


def quantize_pipeline(plan: Plan, pipe: Any) -> list[LinearPlan]:
    """Quantize the components that the spec names, each Linear by the layer policy; then move all to the device.

    Under an offload a component that is quantized on the device is there for that alone, and nothing stays.
    """
    plans: list[LinearPlan] = []
    rows = plan.model.rows(plan.spec, pipe) if plan.scheme.quantizes else {}
    rows |= _rows_of_a_rank(plan, pipe) if plan.spec.parallel else {}
    parts = components(pipe)
    found_by_part = {name: _plan_component(plan, name, parts[name], rows.get(name, {})) for name in _targets(plan, parts)}
    refuse_strangers(plan.scheme, {each.module for found in found_by_part.values() for each in found})
    for name, found in found_by_part.items():
        if any(each.scheme != LEFT for each in found):
            _quantize_component(plan, name, parts[name], found)
        plans += found
    if plan.spec.quantize_on != "device" and not plan.offload.offloads:
        pipe.to(plan.device)
    return plans


def _rows_of_a_rank(plan: Plan, pipe: Any) -> dict[str, dict[str, int]]:
    """M of the transformer's Linears in one rank's part; unknown, as the policy will say, where its inputs are."""
    import torch

    parallel = plan.spec.parallel or {}

    def inputs(component: Any) -> Any:
        with torch.device("meta"):
            return plan.model.inputs(plan.spec, "transformer", component, None)

    whole = inputs(pipe.transformer)
    refuse_sizes(pipe.transformer, whole, parallel)
    known = plan.scheme.quantizes and whole is not None
    return {"transformer": rows_of_a_part(pipe.transformer, inputs, int(parallel["degree"])) if known else {}}


def _quantize_component(plan: Plan, name: str, component: Any, found: list[LinearPlan]) -> None:
    where, offloads = plan.spec.quantize_on, plan.offload.offloads
    if where == "device" and offloads:
        component.to(plan.device)
    device = plan.device if where == "per-layer" else None
    torchao_defaults = plan.spec.inductor_defaults == "torchao"
    find = plan.scheme.member
    quantize(component, found, prefix=f"{name}.", torchao_defaults=torchao_defaults, device=device, find=find)
    if where != "cpu" and offloads:
        component.to("cpu")


def place_pipeline(plan: Plan, pipe: Any) -> None:
    """VAE tiling and slicing, and the offload's hooks: last, so that they lie around what is compiled."""
    apply_vae(pipe, tiling=plan.spec.vae_tiling, slicing=plan.spec.vae_slicing)
    if plan.offload.apply is not None:
        if plan.scheme.quantizes:
            move_without_swapping()
        plan.offload.apply(pipe, plan.device)


def _targets(plan: Plan, parts: dict[str, Any]) -> list[str]:
    wanted = ["transformer"]
    wanted += [name for name in TEXT_ENCODERS if plan.spec.quantize_text_encoder]
    wanted += ["vae"] if plan.spec.quantize_vae else []
    return [name for name in wanted if name in parts]


def _plan_component(plan: Plan, name: str, component: Any, rows: dict[str, int]) -> list[LinearPlan]:
    regions = (
        plan.compiler.regions(component) if name == "transformer" else [""] if name == "vae" and plan.spec.compile_vae else []
    )
    linears = list_linears(component, rows, regions, prefix=f"{name}.")
    return plan_linears(plan.scheme, linears, compiling=plan.compiler.name != "none")


def compile_pipeline(plan: Plan, pipe: Any) -> list[str]:
    """Compile what the spec names, in place; returns the names of the compiled regions. Compiling itself is lazy."""
    import torch

    if plan.compiler.name == "none":
        return []
    keep_every_compile()
    compiled = [
        "transformer" + (f".{name}" if name else "")
        for name in plan.compiler.apply(pipe.transformer, inside_hooks=plan.offload.offloads)
    ]
    if plan.spec.compile_vae:
        pipe.vae.decode = torch.compile(pipe.vae.decode, **plan.compiler.options)
        compiled.append("vae.decode")
    return compiled


def describe_applied(
    plan: Plan, pipe: Any, plans: list[LinearPlan], compiled: list[str], tuned: Tuned | None = None
) -> dict[str, Any]:
    """The manifest's account of what was really done."""
    spec, tuned = plan.spec, tuned or Tuned()
    notes = tuned.notes + vae_notes(pipe, height=spec.height, width=spec.width, batch=spec.batch)
    notes += [plan.scheme.note] if plan.scheme.note else []
    if plan.spec.quantize_vae and not any(each.module.startswith("vae.") for each in plans):
        notes.append("the VAE has no Linear: --quantize-vae changed nothing")
    return {
        "plan": _describe_plan(plan),
        "base_dtype": plan.scheme.base_dtype,
        "linears": [
            asdict(each) | {"kernel": tuned.kernels.get(each.module), "nearest": tuned.nearest.get(each.module)} for each in plans
        ],
        "compiled": compiled,
        "tuned_tables": tuned.tables,
        "notes": notes,
        "placement": _describe_placement(plan, pipe),
    }


def _describe_plan(plan: Plan) -> dict[str, Any] | None:
    """Which file said what each layer gets, and by its hash: the file may change."""
    if not isinstance(plan.scheme, PlanScheme):
        return None
    file = plan.scheme.file
    return {"path": file.path, "sha256": content_hash(file.path), "model": file.model, "entries": len(file.layers)}


def _describe_placement(plan: Plan, pipe: Any) -> dict[str, Any]:
    hooks = {name: found for name, part in components(pipe).items() if (found := count_hooks(part))}
    return {"offload": plan.offload.name, "hooks": hooks, "vae": describe_vae(pipe)}


def look_up(spec: RunSpec, model: Model, hardware: Hardware) -> Plan:
    """The spec's parts from the registries, or from a plan's file."""
    return Plan(
        spec,
        model,
        with_known_configs(find_scheme(spec.scheme)),
        COMPILERS.get(spec.compile),
        hardware,
        OFFLOADS.get(spec.offload),
    )
