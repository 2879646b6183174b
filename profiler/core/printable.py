"""Text that came out of a file, made safe for a terminal: a name in a trace may hold anything."""

from __future__ import annotations

# Escape sequences move the cursor, change the title, or hide what stands there.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text with control characters, but for line breaks and tabs, written as escapes."""
    return text.translate(_CONTROL)


def one_line(text: str) -> str:
    """The text without line breaks: a name must not look like a line of ours."""
    return " ".join(text.split("\n")) if "\n" in text else text


def plain_line(text: str) -> str:
    """The text as one line that moves no cursor."""
    return printable(one_line(text))


def upper_first(text: str) -> str:
    """The text with a capital first letter, as a sentence begins; the others stay what they are."""
    return text[:1].upper() + text[1:]
