"""Markup by construction: whatever goes in as text is escaped, and only what was made here is taken for markup."""

from __future__ import annotations

from html import escape

from profiler.core.printable import printable

# Marks that reorder what stands around them: a name could read as another one.
_REORDERING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_VOID = ("meta", "br", "hr")


class Html(str):
    """Markup that was made here."""

    __slots__ = ()


Inside = Html | str | None
"""What may stand inside an element; a `str` that is no `Html` is escaped, None is nothing."""


def text(value: str) -> Html:
    """Any text as markup that shows it, whatever it holds: control characters and halves of characters too."""
    shown = printable(value).translate(_REORDERING).encode("utf-8", "replace").decode()
    return Html(escape(shown, quote=True))


def joined(*inside: Inside) -> Html:
    """Pieces one after the other."""
    return Html("".join(each if isinstance(each, Html) else text(each) for each in inside if each is not None))


def tag(name: str, /, *inside: Inside, **attributes: object) -> Html:
    """An element. `class_` is its class, `stroke_width` is stroke-width; what is None or False is left out."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(*inside)}</{name}>")


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = coordinate(value) if isinstance(value, float) else str(value)
    return f' {name}="{text(shown)}"'


def coordinate(value: float) -> str:
    """A length in a figure, as short as it can be told apart on a screen."""
    return f"{value:.1f}".rstrip("0").rstrip(".") or "0"
