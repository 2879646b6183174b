"""A plan in the place of a scheme: each Linear gets the scheme, or the torchao config, that the plan's file says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import Refused, UnreadableInput, UsageError
from profiler.core.plan_file import Entry, PlanFile, names_plan, read_plan
from profiler.schemes.base import SCHEMES, Hardware, Scheme

# Names of schemes elsewhere, the seed's tables among them: what to ask for here.
_ELSEWHERE = {
    "autoquant": "torchao has none any more: make a plan with `diffuscope plan MODEL -o plan.json`, and name --scheme plan.json",
    "fp8": "the seed's rows of fp8 are fp8dq",
    "fp6": "the seed's rows of fp6 are fp6_e3m2",
    "None": "unquantized is bf16",
}

# In `run.json`, before the type of a torchao config that is none of the registered schemes'.
FOREIGN = "torchao:"


@dataclass(frozen=True, kw_only=True)
class PlanScheme(Scheme):
    """A scheme that decides by name.

    Attributes:
        file: the plan.
        members: entry of the plan -> the scheme of its layers; None where they are left.
    """

    file: PlanFile
    members: Mapping[str, Scheme | None]

    @property
    def quantizes(self) -> bool:
        """Whether any layer is quantized."""
        return any(each is not None and each.quantizes for each in self.members.values())

    def obstacle(self, hardware: Hardware) -> str | None:
        """What this hardware lacks for one of the plan's schemes, or None."""
        for scheme in self.distinct():
            obstacle = scheme.obstacle(hardware)
            if obstacle is not None:
                return f"{obstacle}, for {scheme.name}"
        return None

    def distinct(self) -> list[Scheme]:
        """The schemes that the plan names, each once."""
        return list({each.name: each for each in self.members.values() if each is not None}.values())

    def of(self, module: str) -> Scheme | None:
        """The scheme of a module; None where it is left, or named by no entry."""
        key = self.file.key_of(module)
        return None if key is None else self.members[key]

    def left_because(self, module: str) -> str:
        """Why a module without a scheme has none."""
        named = self.file.key_of(module) is not None
        return f"{self.name} leaves it as it is" if named else f"named by no entry of {self.name}"

    def member(self, name: str) -> Scheme:
        """One of the plan's own schemes, or the sibling of one."""
        return next((each for each in self.distinct() if each.name == name), None) or SCHEMES.get(name)


def find_scheme(name: str) -> Scheme:
    """A registered scheme, or the plan in a file whose name ends with `.json`.

    Raises:
        UsageError: no scheme is called so.
        UnreadableInput: a plan that cannot be read, or names a scheme that there is not.
    """
    if not names_plan(name):
        if name in _ELSEWHERE and name not in SCHEMES:
            raise UsageError(f"no scheme is called {name!r}", _ELSEWHERE[name])
        return SCHEMES.get(name)
    file, foreign = read_plan(name), dict[str, Scheme]()
    members = {key: _member(name, key, entry, foreign) for key, entry in file.layers.items()}
    return _scheme(name, file, members)


def _scheme(name: str, file: PlanFile, members: Mapping[str, Scheme | None]) -> PlanScheme:
    named = {each.name: each for each in members.values() if each is not None}
    return PlanScheme(
        name=name,
        summary=f"{len(members)} entries: {', '.join(named) or 'all left'}",
        missing=lambda: next((why for each in named.values() if (why := each.missing())), None),
        file=file,
        members=members,
    )


def _member(path: str, key: str, entry: Entry, foreign: dict[str, Scheme]) -> Scheme | None:
    if entry is None or entry == "left":
        return None
    if isinstance(entry, dict):
        text = json.dumps(entry, sort_keys=True)
        if text not in foreign:
            alike = sum(each.name.startswith(FOREIGN + entry["_type"]) for each in foreign.values())
            name = FOREIGN + entry["_type"] + (f"-{alike + 1}" if alike else "")
            foreign[text] = Scheme(name=name, summary=text, convert=_converter(path, text))
        return foreign[text]
    if entry not in SCHEMES:
        what = f"{path} gives {key[:80]} the scheme {entry[:40]!r}, which there is not"
        raise UnreadableInput(what, f"choose from: {', '.join(SCHEMES)}")
    scheme = SCHEMES.get(entry)
    return scheme if scheme.quantizes else None


def with_known_configs(scheme: Scheme) -> Scheme:
    """The plan with torchao configs that are those of registered schemes replaced by these, so that their layer policy holds.

    Imports torchao.

    Raises:
        UnreadableInput: a config that this torchao cannot read.
    """
    foreign = [each for each in scheme.distinct() if each.name.startswith(FOREIGN)] if isinstance(scheme, PlanScheme) else []
    if not isinstance(scheme, PlanScheme) or not foreign:
        return scheme
    for each in foreign:
        _read_config(scheme.name, each.summary)
    known = {text: each for each in SCHEMES.values() if each.config and (text := _comparable(config_json(each)))}
    replaced = {
        key: known.get(_comparable(json.loads(each.summary)), each) if each and each.name.startswith(FOREIGN) else each
        for key, each in scheme.members.items()
    }
    return _scheme(scheme.name, scheme.file, replaced)


def config_json(scheme: Scheme) -> dict[str, Any]:
    """A scheme's torchao config as torchao writes it; empty where it has none. Imports torchao."""
    from torchao.core.config import config_to_dict

    return dict(config_to_dict(scheme.config(False))) if scheme.config else {}


def _comparable(config: dict[str, Any]) -> str:
    """What a config does to a weight: Inductor's switches are no part of it."""
    data = {key: value for key, value in config.get("_data", {}).items() if key != "set_inductor_config"}
    return json.dumps([config.get("_type"), data], sort_keys=True)


def _converter(path: str, entry: str) -> Callable[[Any, bool], None]:
    def convert(linear: Any, set_inductor_config: bool) -> None:
        from torchao.quantization import quantize_

        config = _read_config(path, entry)
        if hasattr(config, "set_inductor_config"):
            config.set_inductor_config = set_inductor_config
        quantize_(linear, config)

    return convert


def _read_config(path: str, entry: str) -> Any:
    from torchao.core.config import config_from_dict

    try:
        return config_from_dict(json.loads(entry))
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableInput(
            f"{path} holds a torchao config that cannot be read: {error}", "write it with this torchao"
        ) from None


def refuse_other_model(scheme: Scheme, model: str) -> None:
    """Raise Refused for a plan that was made for another model."""
    if isinstance(scheme, PlanScheme) and scheme.file.model not in (None, model):
        raise Refused(
            f"{scheme.name} is a plan for {scheme.file.model}, and {model} was asked", f"plan again: diffuscope plan {model}"
        )


def refuse_strangers(scheme: Scheme, modules: set[str]) -> None:
    """Raise UsageError for a plan that names layers which the pipeline has not.

    Args:
        modules: every Linear that may be quantized.
    """
    strangers = scheme.file.strangers(modules) if isinstance(scheme, PlanScheme) else []
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        raise UsageError(
            f"{scheme.name} names {strangers[0]}{more}, and no Linear that this run may quantize is called so",
            "plan with the same options (--fuse-qkv, --quantize-text-encoder), or for this model",
        )
