"""The layer policy: every Linear decided once, by rules that name their reason. Pure: no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.core.errors import Refused, UsageError
from profiler.schemes.base import SCHEMES, Hardware, LinearInfo, LinearPlan, Scheme, refuse_hardware, refuse_installation
from profiler.schemes.policy import LEFT, plan_linears

DYNAMIC = ("fp8dq", "fp8dqrow", "int8dq", "sparsify", "fp8-sparse")
SIBLING = {"fp8dq": "fp8wo", "fp8dqrow": "fp8wo", "int8dq": "int8wo", "sparsify": "int8wo", "fp8-sparse": "fp8wo"}
CPU, H100, A100, T4 = (
    Hardware("cpu"),
    Hardware("cuda", (9, 0), "H100"),
    Hardware("cuda", (8, 0), "A100"),
    Hardware("cuda", (7, 5), "T4"),
)


def linear(rows: int | None = 512, k: int = 384, n: int = 256, compiled: bool = True) -> LinearInfo:
    return LinearInfo("transformer.a", k, n, rows, compiled)


def plan_one(scheme: str, each: LinearInfo, compiling: bool = True) -> LinearPlan:
    (plan,) = plan_linears(SCHEMES.get(scheme), [each], compiling=compiling)
    return plan


@pytest.mark.parametrize("scheme", DYNAMIC)
def test_a_big_linear_inside_a_region_gets_the_scheme(scheme: str):
    plan = plan_one(scheme, linear())
    assert (plan.scheme, plan.reason) == (scheme, "")


@pytest.mark.parametrize("scheme", DYNAMIC)
@pytest.mark.parametrize(("rows", "fits"), [(1, False), (16, False), (17, True), (4608, True)])
def test_few_rows_get_the_sibling(scheme: str, rows: int, fits: bool):
    plan = plan_one(scheme, linear(rows))
    assert plan.scheme == (scheme if fits else SIBLING[scheme])
    assert plan.reason == ("" if fits else f"M = {rows}, and {scheme} needs at least 17")


@pytest.mark.parametrize("scheme", DYNAMIC)
def test_unknown_rows_get_the_sibling(scheme: str):
    plan = plan_one(scheme, linear(None))
    assert plan.scheme == SIBLING[scheme]
    assert plan.reason.startswith("rows (M) not known or never called")


@pytest.mark.parametrize("scheme", DYNAMIC)
def test_outside_every_region_gets_the_sibling_only_when_compiling(scheme: str):
    outside = linear(compiled=False)
    plan = plan_one(scheme, outside)
    assert plan.scheme == SIBLING[scheme]
    assert plan.reason.startswith("outside every compiled region")
    assert plan_one(scheme, outside, compiling=False).scheme == scheme


@pytest.mark.parametrize(
    ("scheme", "k", "n", "odd", "multiple"), [("sparsify", 96, 48, 48, 32), ("fp8-sparse", 128, 192, 192, 128)]
)
def test_sparse_products_take_whole_blocks(scheme: str, k: int, n: int, odd: int, multiple: int):
    plan = plan_one(scheme, linear(k=k, n=n))
    assert plan.scheme == SIBLING[scheme]
    assert plan.reason == f"{scheme} needs dimensions in multiples of {multiple}, this one has {odd}"
    assert plan_one(scheme, linear(k=k, n=multiple * 3)).scheme == scheme


@pytest.mark.parametrize("scheme", ["fp8dq", "fp8dqrow"])
@pytest.mark.parametrize(("k", "n", "odd"), [(40, 64, 40), (64, 250, 250)])
def test_fp8_needs_multiples_of_16(scheme: str, k: int, n: int, odd: int):
    plan = plan_one(scheme, linear(k=k, n=n))
    assert (plan.scheme, plan.reason) == ("fp8wo", f"{scheme} needs dimensions in multiples of 16, this one has {odd}")


def test_int8dq_needs_multiples_of_8():
    assert plan_one("int8dq", linear(k=40)).scheme == "int8dq"
    assert plan_one("int8dq", linear(k=36)).reason == "int8dq needs dimensions in multiples of 8, this one has 36"


def test_a_128_square_is_not_for_fp8dq():
    plan = plan_one("fp8dq", linear(k=128, n=128))
    assert (plan.scheme, plan.reason) == ("fp8wo", "torchao takes a 128x128 weight for blockwise scaling")
    assert plan_one("fp8dqrow", linear(k=128, n=128)).scheme == "fp8dqrow"
    assert plan_one("fp8dq", linear(k=128, n=256)).scheme == "fp8dq"


@pytest.mark.parametrize("scheme", ["bf16", "fp16"])
def test_a_scheme_that_quantizes_nothing_leaves_all(scheme: str):
    plan = plan_one(scheme, linear())
    assert (plan.scheme, plan.reason) == (LEFT, f"{scheme} quantizes nothing")


@pytest.mark.parametrize("scheme", ["int8wo", "fp8wo"])
def test_weight_only_takes_every_linear(scheme: str):
    for each in (linear(1), linear(None, compiled=False), linear(k=3, n=5)):
        assert (plan_one(scheme, each).scheme, plan_one(scheme, each).reason) == (scheme, "")


LINEARS = st.lists(
    st.builds(
        LinearInfo,
        module=st.uuids().map(str),
        in_features=st.integers(1, 40).map(lambda each: each * 4),
        out_features=st.integers(1, 40).map(lambda each: each * 4),
        rows=st.none() | st.integers(1, 5000),
        compiled=st.booleans(),
    ),
    max_size=20,
    unique_by=lambda each: each.module,
)


@given(linears=LINEARS, scheme=st.sampled_from(sorted(SCHEMES)), compiling=st.booleans())
def test_every_linear_is_decided_once_in_order_and_with_a_reason(linears: list[LinearInfo], scheme: str, compiling: bool):
    plans = plan_linears(SCHEMES.get(scheme), linears, compiling=compiling)
    assert [(p.module, p.in_features, p.out_features, p.rows) for p in plans] == [
        (each.module, each.in_features, each.out_features, each.rows) for each in linears
    ]
    allowed = {scheme, SCHEMES.get(scheme).weight_only, LEFT}
    for plan in plans:
        assert plan.scheme in allowed
        # As asked needs no reason; anything else needs one.
        assert bool(plan.reason) == (plan.scheme != scheme)


@given(linears=LINEARS, scheme=st.sampled_from(DYNAMIC), compiling=st.booleans())
def test_no_linear_gets_a_gemm_that_cannot_run(linears: list[LinearInfo], scheme: str, compiling: bool):
    plans = plan_linears(SCHEMES.get(scheme), linears, compiling=compiling)
    for each, plan in zip(linears, plans, strict=True):
        if plan.scheme == scheme:
            assert each.rows is not None
            assert each.rows > 16
            assert each.in_features % SCHEMES.get(scheme).multiple_of == each.out_features % SCHEMES.get(scheme).multiple_of == 0
            assert each.compiled or not compiling


@pytest.mark.parametrize(
    ("scheme", "hardware", "needs", "one_and_other"),
    [
        ("fp8dqrow", CPU, "needs a CUDA device; this machine has cpu", ("int8dq", "sparsify")),
        ("sparsify", CPU, "needs a CUDA device; this machine has cpu", ("int8dq", "sparsify")),
        ("fp8-sparse", CPU, "needs a CUDA device; this machine has cpu", ("int8dq", "fp8-sparse")),
        ("fp8dq", A100, "needs CUDA compute capability 8.9 or newer; this machine has A100", ("sparsify", "fp8dqrow")),
        ("fp8-sparse", A100, "needs CUDA compute capability 9.0 or newer; this machine has A100", ("sparsify", "fp8-sparse")),
        ("int8dq", T4, "needs CUDA compute capability 8.0 or newer; this machine has T4", ("int8wo", "int8dq")),
        ("sparsify", T4, "needs CUDA compute capability 8.0 or newer; this machine has T4", ("int8wo", "sparsify")),
    ],
)
def test_hardware_refusals_name_the_need_and_what_would_run(
    scheme: str, hardware: Hardware, needs: str, one_and_other: tuple[str, str]
):
    with pytest.raises(Refused) as caught:
        refuse_hardware(SCHEMES.get(scheme), hardware)
    assert caught.value.message == f"scheme {scheme} {needs}"
    start, _, names = caught.value.hint.partition(": ")
    listed, (runs, does_not) = names.split(", "), one_and_other
    assert start == "schemes that run here"
    assert runs in listed
    assert does_not not in listed
    assert listed == [each.name for each in SCHEMES.values() if each.obstacle(hardware) is None]


def test_what_an_installation_lacks_is_asked_only_where_the_device_would_do():
    lacking = Scheme(name="lacking", summary="", missing=lambda: "no library")
    refuse_installation(lacking, CPU)
    with pytest.raises(Refused, match="scheme lacking cannot run here: no library"):
        refuse_installation(lacking, H100)
    refuse_installation(SCHEMES.get("bf16"), H100)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_everything_runs_on_an_h100(scheme: str):
    refuse_hardware(SCHEMES.get(scheme), H100)


def test_every_sibling_is_weight_only():
    for scheme in SCHEMES.values():
        if scheme.weight_only:
            sibling = SCHEMES.get(scheme.weight_only)
            assert sibling.quantizes
            assert not sibling.dynamic


def test_an_unknown_scheme_lists_the_known():
    with pytest.raises(UsageError) as caught:
        SCHEMES.get("int3wo")
    assert caught.value.hint == "choose from: " + ", ".join(SCHEMES)
    assert "int8wo" in caught.value.hint


def test_listing_schemes_imports_no_torch():
    code = "import sys; from profiler.schemes.base import SCHEMES; print(*SCHEMES, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*SCHEMES, "False"]
    assert {"bf16", "fp8dqrow", "int8wo", "sparsify"} <= set(SCHEMES)
