"""HTML whose text stays text: whatever is put in is escaped, unless it is markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"img", "input", "meta", "br"})


class Markup(str):
    """Text that is HTML already. Only `tag` and `join` make it, and whoever vouches for it."""


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """An element; `_` in an attribute's name is read as `-`, and one at its end dropped.

    An attribute that is None or False is left out, and one that is True stands alone.

    Example:
      >>> tag("p", "1 < 2, ", tag("b", "surely"), class_="note", data_step=3)
      '<p class="note" data-step="3">1 &lt; 2, <b>surely</b></p>'
    """
    words = [name]
    for key, value in attributes.items():
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(label)
        elif value is not None and value is not False:
            words.append(f'{label}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if name in _VOID else f"{opening}{join(inside)}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    """Parts one after the other; text among them is escaped, None is left out."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else html.escape(str(part))
            for part in parts
            if part is not None
        )
    )


def table(head: Iterable[object], rows: Iterable[Iterable[object]], caption: str) -> Markup:
    """A table whose first column heads its rows; it scrolls by itself where it is too wide."""
    columns = tag("tr", *(tag("th", name, scope="col") for name in head))
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    inside = [tag("caption", caption), tag("thead", columns), tag("tbody", *body)]
    return tag(
        "div",
        tag("table", *inside),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )
