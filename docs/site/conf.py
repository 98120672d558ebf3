"""How Sphinx makes the site: read by `scripts/docs`, with the repository's root as its source.

The Markdown is written for a code host first, and nothing in it is Sphinx's own: links are paths of
files, anchors are those of the headings, and the navigation is read off `docs/index.md`. The site
has the folders of the repository, so that one link works in both.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

from navigation import CONTENTS, with_navigation

project = html_title = "AI Flow"
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/decisions/*.md"]
# Without these Sphinx would walk through everything that was ever built or installed here.
exclude_patterns = [".*", "build", "dist", "runs", "tests"]

extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["top"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

# `scripts/docs --external`: hosts of examples, machines of the reader's, and the demo's own page.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost)[:/]"]
linkcheck_timeout = 20
linkcheck_retries = 2


def setup(app: Sphinx) -> None:
    """Register what Sphinx has not: the navigation, and blocks of bytes in hex."""
    app.add_lexer("hex", TextLexer)
    app.connect("source-read", _navigate)


def _navigate(_app: Sphinx, page: str, source: list[str]) -> None:
    if page in CONTENTS:
        source[0] = with_navigation(source[0])
