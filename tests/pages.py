"""A page taken apart, for the tests of what is shown in a browser."""

import html.parser


class Page(html.parser.HTMLParser):
    """A page taken apart: its tags with attributes, its text, and whether it nests properly."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)
            if self.open[-1] in ("h2", "h3"):
                self.headings.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.tags)
