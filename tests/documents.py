"""HTML as a browser's parser hands it on: elements, attributes, and what a reader sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_BLOCKS = frozenset({"p", "h1", "h2", "h3", "li", "tr", "div", "section", "header", "footer", "figure", "small", "b"})

_HIDDEN = frozenset({"style", "script", "title", "desc"})


@dataclass(slots=True)
class Document:
    """What was read.

    Attributes
    ----------
    elements
        Names, in document order.
    attributes
        Name and value, in document order; a meta element's `http-equiv` stands as a name of its own.
    hidden
        What stands in elements that a page does not show, by their names.
    raw
        All text that it shows.
    """

    elements: list[str] = field(default_factory=list[str])
    attributes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    hidden: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    raw: str = ""

    @property
    def text(self) -> str:
        """Give the text, blank lines left out."""
        return "\n".join(line for line in self.raw.split("\n") if line.strip())

    def count(self, name: str) -> int:
        return self.elements.count(name)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.document = Document()
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.document.elements.append(tag)
        pairs = [(name, value or "") for name, value in attrs]
        self.document.attributes += pairs
        given = dict(pairs)
        if "http-equiv" in given:
            self.document.attributes.append((given["http-equiv"].lower(), given["content"]))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""
        if tag in _BLOCKS:
            self.document.raw += "\n"

    def handle_data(self, data: str) -> None:
        if self.inside in _HIDDEN:
            self.document.hidden.setdefault(self.inside, []).append(data)
        else:
            self.document.raw += data


def read_document(html: str) -> Document:
    """Read HTML."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.document
