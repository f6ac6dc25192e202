"""An evaluation as one HTML page that loads nothing: tables, plots, configuration and versions."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.reports.schema import checked

PARTS = Path(__file__).with_name("page")
"""Folder of what the page is made of; `page.html` says what goes where."""
SCRIPTS = ("figures", "plots", "tables", "page")
"""The page's own scripts, in their order."""


def as_html(document: Mapping[str, Any]) -> str:
    """An evaluation document (see `agents.reports.schema`) as a self-contained page, about 5 MB of it plotly.js.

    Its content security policy lets no other script run and nothing be loaded.

    Raises:
        ValueError: a part of the document is missing or wrong.
        ImportError: plotly is not installed.
    """
    scripts = {"plotly": _plotly(), **{name: _part(f"{name}.js") for name in SCRIPTS}}
    allowed = " ".join(map(_fingerprint, scripts.values()))
    # Non-ASCII is escaped by default; without "<" no text can end the script element.
    told = checked(document).model_dump(mode="json")
    text = json.dumps(told, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "policy": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:",
        "style": _part("page.css"),
        "document": text,
        **scripts,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))


def _part(file: str) -> str:
    return (PARTS / file).read_text(encoding="utf-8")


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError("the report needs plotly: pip install 'edge-envs[train]'") from error
    # Browsers read any line end as one newline, and the fingerprint is of what they read.
    script: str = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    return script


def _fingerprint(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
