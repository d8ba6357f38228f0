"""HTML that is safe by its type: a plain `str` is text and is escaped, only `Html` is markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, which browsers drop; those that turn the direction of text; lone surrogates, unknown to UTF-8."""

_VOID = frozenset({"br", "col", "meta"})


class Html(str):
    """Markup that this package wrote. Whatever is joined to it as a plain `str` is no longer `Html`, and is escaped."""

    __slots__ = ()


EMPTY = Html("")


def text(value: str) -> Html:
    """Escape a text; what is `Html` already stays as it is.

    Parameters
    ----------
    value
        Any text. Control characters, overrides of the direction and lone surrogates become U+FFFD.

    Examples
    --------
    >>> print(text("a < b"))
    a &lt; b
    """
    if isinstance(value, Html):
        return value
    return Html(html.escape(_UNFIT.sub("\ufffd", value), quote=True))


def join(parts: Iterable[str], separator: str = "") -> Html:
    """Join parts, each escaped unless it is `Html`."""
    return Html(text(separator).join(text(part) for part in parts))


def element(tag: str, /, *children: str, **attributes: str | int | None) -> Html:
    """Write an element.

    Parameters
    ----------
    tag
        Its name; never from a user.
    *children
        Markup, or text that is escaped.
    **attributes
        `class_` is written `class`, `data_unit` is written `data-unit`; None leaves the attribute out. Values are
        escaped, names are never from a user.

    Examples
    --------
    >>> print(element("p", "1 < 2", class_="note"))
    <p class="note">1 &lt; 2</p>
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opening = f"<{tag}{written}>"
    return Html(opening if tag in _VOID else f"{opening}{join(children)}</{tag}>")
