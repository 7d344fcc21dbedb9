"""HTML generation that escapes everything except markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"img", "input", "meta", "br"})


class Markup(str):
    """Text that is already HTML. Create it with `tag` and `join`, or only from trusted text."""


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """Create an element; `_` in attribute names becomes `-`, and a trailing one is dropped.

    Attributes that are None or False are left out; those that are True have no value.

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
    """Concatenate parts, escaping text and skipping None."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else html.escape(str(part))
            for part in parts
            if part is not None
        )
    )


def table(head: Iterable[object], rows: Iterable[Iterable[object]], caption: str) -> Markup:
    """Create a table whose first column holds row headers; it scrolls if it is too wide."""
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
