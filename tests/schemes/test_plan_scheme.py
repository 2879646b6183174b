"""A plan in the place of a scheme: which layer gets what and why, torchao's configs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from profiler.core.errors import Refused, UnreadableInput, UsageError
from profiler.schemes.apply import quantize
from profiler.schemes.base import SCHEMES, Hardware, LinearInfo, refuse_hardware
from profiler.schemes.plan import PlanScheme, config_json, find_scheme, refuse_other_model, refuse_strangers, with_known_configs
from profiler.schemes.policy import LEFT, plan_linears

GROUPS = {"_type": "PerGroup", "_version": 1, "_data": {"group_size": 32}}
FOREIGN = {
    "_type": "Int8WeightOnlyConfig",
    "_version": 2,
    "_data": {"set_inductor_config": True, "group_size": None, "granularity": GROUPS},
}


def scheme_of(folder: Path, layers: dict[str, Any], **more: Any) -> PlanScheme:
    path = folder / "plan.json"
    path.write_text(json.dumps({"schema": 1, "kind": "plan", "layers": layers} | more))
    found = find_scheme(str(path))
    assert isinstance(found, PlanScheme)
    return found


def linear(name: str, rows: int | None = 64) -> LinearInfo:
    return LinearInfo(name, 64, 64, rows, True)


def test_each_layer_gets_its_entry_under_that_schemes_own_policy(tmp_path: Path):
    scheme = scheme_of(
        tmp_path, {"t.a": "int8dq", "t.b": "int8dq", "t.c": "left", "t.d": None, "re:t\\.e.*": "fp8wo", "t.f": "bf16"}
    )
    infos = [linear("t.a"), linear("t.b", rows=1), linear("t.c"), linear("t.d"), linear("t.e9"), linear("t.f"), linear("t.g")]
    plans = plan_linears(scheme, infos, compiling=True)
    assert [each.scheme for each in plans] == ["int8dq", "int8wo", LEFT, LEFT, "fp8wo", LEFT, LEFT]
    assert plans[1].reason == "M = 1, and int8dq needs at least 17"
    assert plans[2].reason == f"{scheme.name} leaves it as it is"
    assert plans[6].reason == f"named by no entry of {scheme.name}"
    assert scheme.quantizes
    assert {each.name for each in scheme.distinct()} == {"int8dq", "fp8wo"}
    assert not scheme_of(tmp_path, {"t.a": "left"}).quantizes


def test_a_registered_name_is_that_scheme():
    assert find_scheme("int8dq") is SCHEMES.get("int8dq")
    with pytest.raises(UsageError, match="no scheme is called"):
        find_scheme("int3")


@pytest.mark.parametrize(
    ("name", "hint"), [("autoquant", "diffuscope plan"), ("fp8", "fp8dq"), ("fp6", "fp6_e3m2"), ("None", "bf16")]
)
def test_names_of_the_seed_that_are_none_here_say_what_to_ask_for(name: str, hint: str):
    with pytest.raises(UsageError, match="no scheme is called") as caught:
        find_scheme(name)
    assert hint in caught.value.hint


def test_torchaos_config_of_a_known_scheme_is_that_scheme_and_another_is_applied_as_it_is(tmp_path: Path):
    layers = {"m.0": config_json(SCHEMES.get("int8dq")), "m.1": FOREIGN}
    layers["m.0"]["_data"]["set_inductor_config"] = True  # no part of what it does to a weight
    plain = scheme_of(tmp_path, layers)
    assert [each.name for each in plain.distinct()] == [
        "torchao:Int8DynamicActivationInt8WeightConfig",
        "torchao:Int8WeightOnlyConfig",
    ]
    scheme = with_known_configs(plain)
    plans = plan_linears(scheme, [linear("m.0"), linear("m.1")], compiling=False)
    assert [each.scheme for each in plans] == ["int8dq", "torchao:Int8WeightOnlyConfig"]


def test_a_foreign_config_quantizes_as_torchao_would(tmp_path: Path):
    from torchao.core.config import config_to_dict
    from torchao.quantization import Int8WeightOnlyConfig, PerGroup, quantize_

    wanted = Int8WeightOnlyConfig(granularity=PerGroup(32), set_inductor_config=False)
    scheme = with_known_configs(scheme_of(tmp_path, {"m.0": config_to_dict(wanted)}))
    made = [torch.nn.Sequential(torch.nn.Linear(64, 64, dtype=torch.bfloat16)) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    (plan,) = plan_linears(scheme, [linear("m.0")], compiling=False)
    quantize(made[0], [plan], prefix="m.", torchao_defaults=False, find=scheme.member)
    quantize_(made[1], wanted)
    assert made[0][0].weight.scale.shape == (64, 2)
    assert torch.equal(made[0][0].weight.qdata, made[1][0].weight.qdata)


def test_a_config_that_torchao_cannot_read_is_one_error(tmp_path: Path):
    scheme = scheme_of(tmp_path, {"m.0": {"_type": "NoSuchConfig", "_data": {}}})
    with pytest.raises(UnreadableInput, match=r"plan\.json holds a torchao config that cannot be read"):
        with_known_configs(scheme)  # before anything loads
    (plan,) = plan_linears(scheme, [linear("m.0")], compiling=False)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64, dtype=torch.bfloat16))
    with pytest.raises(UnreadableInput, match="holds a torchao config that cannot be read"):
        quantize(model, [plan], prefix="m.", torchao_defaults=False, find=scheme.member)


def test_what_is_refused(tmp_path: Path):
    scheme = scheme_of(tmp_path, {"t.a": "fp8dqrow", "t.b": "int8wo"}, model="flux-dev")
    with pytest.raises(Refused, match="is a plan for flux-dev, and flux-tiny was asked"):
        refuse_other_model(scheme, "flux-tiny")
    refuse_other_model(scheme, "flux-dev")
    with pytest.raises(Refused, match="needs a CUDA device, for fp8dqrow; this machine has cpu"):
        refuse_hardware(scheme, Hardware("cpu"))
    refuse_hardware(scheme, Hardware("cuda", (9, 0), "H100"))
    with pytest.raises(UsageError, match=r"names t\.a and 1 more, and no Linear"):
        refuse_strangers(scheme, {"t.c"})
    refuse_strangers(scheme, {"t.a", "t.b", "t.c"})
    with pytest.raises(UnreadableInput, match=r"gives t\.a the scheme 'int3', which there is not"):
        scheme_of(tmp_path, {"t.a": "int3"})
