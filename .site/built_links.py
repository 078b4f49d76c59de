"""Every link of the built pages leads to a file that is there, and to an anchor on it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Found:
    """How many links were followed, which are dead, and which lead out of the site."""

    inside: int = 0
    dead: list[str] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[tuple[str, str]] = []  # (tag, address)
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.append((tag, value))


def check(folder: Path) -> Found:
    """Follow all links of all pages in a folder."""
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = Found()
    for path, page in pages.items():
        for tag, address in page.targets:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                found.outside.add(address)
                if tag != "a":  # a font, a script or a picture that needs the network
                    found.dead.append(f"{path.relative_to(folder.resolve())}: <{tag}> loads {address}")
                continue
            found.inside += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            missing = not target.is_file() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
            )
            if missing:
                found.dead.append(f"{path.relative_to(folder.resolve())}: {address}")
    return found
