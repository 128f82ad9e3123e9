"""The HTML file: template, styles and scripts in one, and the data as compressed JSON."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

# Libraries of others, as they are published; vendor/NOTICE.md names versions and licences.
_VENDOR = ("d3.min.js", "plot.umd.min.js", "dagre.min.js", "katex.min.js", "auto-render.min.js")
# Ours: joined in this order to one module, so that they share one scope.
_SCRIPTS = (
    "data.js", "elements.js", "charts.js", "graph.js", "results.js", "explore.js", "solutions.js",
    "problems.js", "compare.js", "training.js", "app.js",
)  # fmt: skip


class Document:
    """Collects parts of the data, each compressed, and writes the file."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}

    def add(self, name: str, content: Any) -> None:
        """Add a part, which the page unpacks when it is looked at."""
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        # Without a time, the same run gives the same file.
        packed = gzip.compress(text.encode(), 9, mtime=0)
        self._parts[name] = base64.b64encode(packed).decode()

    def html(self, title: str) -> str:
        """The whole file."""
        from jinja2 import Environment

        folder = files(__package__)
        static, vendor = folder / "static", folder / "vendor"
        scripts = [(vendor / name).read_text(encoding="utf-8") for name in _VENDOR]
        own = [(static / name).read_text(encoding="utf-8") for name in _SCRIPTS]
        scripts = [_inline(text) for text in (*scripts, "\n".join(own))]
        style = (static / "page.css").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string((static / "page.html.jinja").read_text(encoding="utf-8"))
        return template.render(
            title=title,
            style=style,
            scripts=scripts[:-1],
            module=scripts[-1],
            script_hashes=[_hash(text) for text in scripts],
            style_hash=_hash(style),
            parts=self._parts,
            notice=(vendor / "NOTICE.md").read_text(encoding="utf-8"),
        )


def _inline(script: str) -> str:
    """A script that may stand in HTML: no text in it ends the element or opens a comment."""
    # The map of a minified script is not in the page.
    script = re.sub(r"^//# sourceMappingURL=.*$", "", script, flags=re.MULTILINE)
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
