"""Looks through a built site: every link leads to a file and an anchor, nothing loads from outside.

    python docs/site/built.py build/site

Sphinx has checked what it knows from the Markdown; this reads what a browser would.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FOLLOWED = {"a": "href"}
LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}


@dataclass
class Page(HTMLParser):
    """What one HTML file refers to, and what can be referred to in it."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        for kinds, found in ((FOLLOWED, self.links), (LOADED, self.loads)):
            if tag in kinds and kinds[tag] in given:
                found.append(given[kinds[tag]])


def faults(site: Path) -> list[str]:
    """One line for each link that leads nowhere and for each asset of somebody else's."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: there is no page"]
    for path, page in pages.items():
        name = path.relative_to(site)
        outside = [url for url in page.loads if urlsplit(url).netloc]
        found += [f"{name}: loads {url} from outside" for url in outside]
        for url in (*page.links, *page.loads):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{name}: {url} leads to no file")
            elif parts.fragment and unquote(parts.fragment) not in _anchors(pages, target):
                found.append(f"{name}: {url} has no such anchor")
    return found


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _anchors(pages: dict[Path, Page], target: Path) -> set[str]:
    return pages[target].anchors if target in pages else set()


def main() -> int:
    """0 when the site is sound."""
    site = Path(sys.argv[1]).resolve()
    found = faults(site)
    for line in found:
        print(f"docs: {line}", file=sys.stderr)
    if not found:
        print(f"docs: {sum(1 for _ in site.rglob('*.html'))} pages, every link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
