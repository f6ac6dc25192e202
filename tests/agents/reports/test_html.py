"""The report's page as text: whole, self-contained, safe from its labels; and the documents that it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from string import Template
from typing import Any

import pytest

from agents.reports import html
from agents.reports.html import as_html
from agents.reports.schema import checked
from tests.agents.reports.report_sample import HOSTILE, report_document

LOADING = {"src", "href", "srcset", "action", "data", "poster", "formaction"}


class Outline(HTMLParser):
    """Elements, the addresses in them, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.scripts: dict[str, list[str]] = {"application/json": [], "": []}
        self.policy = ""
        self._into: list[str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in LOADING]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        if tag == "script":
            self._into = self.scripts[found.get("type") or ""]
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "html.html"
    path.write_text(as_html(report_document()))
    return path.read_bytes().decode()


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    return Outline(text)


def test_loads_nothing(text: str, outline: Outline) -> None:
    assert outline.addresses == ["data:,", "#LyaPPO-v0", "#SemCom-v0"]
    assert outline.tags.count("script") == 4
    assert not {"img", "iframe", "object", "embed", "audio", "video"} & set(outline.tags)
    own = "".join(file.read_text() for file in html.PARTS.iterdir())
    for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest", "innerHTML"):
        assert word not in own
    filled = text.replace("$script ${style}", "")
    for script in outline.scripts[""]:
        filled = filled.replace(script, "")
    names = [name for file in html.PARTS.glob("*.html") for name in Template(file.read_text()).get_identifiers()]
    assert len(names) > 20
    assert not [name for name in names if f"${name}" in filled]


def test_only_its_own_scripts_may_run(outline: Outline) -> None:
    assert outline.policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = outline.policy.partition("script-src ")[2].partition(";")[0].split()
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in outline.scripts[""]]
    assert allowed == [f"'sha256-{digest}'" for digest in digests]
    assert not any("\r" in each for each in outline.scripts[""])


def test_holds_the_documents_numbers_and_no_markup(outline: Outline) -> None:
    embedded, figures = outline.scripts["application/json"]
    assert not {"<", "\u2028", "\u2029"} & set(embedded + figures)
    expected = report_document()
    for environment in expected["environments"]:
        if environment["episode"]:
            environment["episode"]["seed"] = str(environment["episode"]["seed"])
    assert json.loads(embedded) == expected
    assert HOSTILE in {policy["label"] for policy in json.loads(embedded)["environments"][0]["policies"]}


def test_more_than_the_schema_is_allowed_and_scores_may_be_missing(tmp_path: Path) -> None:
    document = report_document() | {"more": object()}
    del document["scores"], document["notes"]
    document["environments"][0]["policies"][0]["more"] = 1
    assert checked(document).scores is None
    assert checked(document).notes == []
    (tmp_path / "html.html").write_text(as_html(document))


Change = Callable[[dict[str, Any]], Any]
WRONG: dict[str, tuple[Change, str]] = {
    "format": (lambda d: d.update(format=3), "format: Input should be 2"),
    "none": (lambda d: d.update(environments=[]), "environments: List should have at least 1 item"),
    "part missing": (
        lambda d: d["environments"][1].pop("reference_baseline"), "environments.1.reference_baseline: Field required"
    ),
    "number missing": (
        lambda d: d["environments"][0]["policies"][2]["metrics"]["reward"].pop("iqm"),
        "environments.0.policies.2.metrics.reward.iqm: Field required",
    ),
    "nan": (
        lambda d: d["environments"][0]["policies"][0]["metrics"]["reward"].update(mean=float("nan")),
        "environments.0.policies.0.metrics.reward.mean: Input should be a finite number",
    ),
    "hidden inf": (
        lambda d: d["environments"][0]["configuration"].update(num_devices=float("inf")),
        "environments.0.configuration.num_devices",
    ),
    "text": (
        lambda d: d["environments"][0]["policies"][0]["latency_ms"].update(p99="0.5"),
        "environments.0.policies.0.latency_ms.p99: Input should be a valid number",
    ),
    "kind": (lambda d: d["environments"][0]["policies"][0].update(kind="other"), "policies.0.kind: Input should be"),
    "headline": (lambda d: d["environments"][0]["headline"].append("speed"), "headline metric 'speed' is not among"),
    "twice": (
        lambda d: d["environments"][0]["policies"].append(d["environments"][0]["policies"][0]),
        "label 'best-fixed' belongs to two policies",
    ),
    "no main": (
        lambda d: d["environments"][0]["policies"][1]["metrics"].pop("power_mw"), "policy 'random' has no 'power_mw'"
    ),
    "not described": (
        lambda d: d["environments"][0]["metrics"].pop(3), "metric 'certificate' of policy 'best-fixed' is not among"
    ),
    "curve": (lambda d: d["environments"][0]["curves"][0].update(label="x"), "belongs to 'x', which is not a policy"),
    "short curve": (lambda d: d["environments"][0]["curves"][0]["steps"].pop(), "10 values of 'power_mw' for 9 steps"),
    "same environment": (
        lambda d: d["environments"].append(d["environments"][0]), "environment 'LyaPPO-v0' occurs twice"
    ),
    "note": (lambda d: d["notes"].append(3), "notes.2: Input should be a valid string"),
    "score": (lambda d: d["scores"][0]["by_env"].update(other=1.0), "'best-fixed' name 'other', which is not among"),
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG)
def test_wrong_document_is_named_and_leaves_the_old_page(change: str, tmp_path: Path) -> None:
    document, path = report_document(), tmp_path / "html.html"
    path.write_text("old")
    WRONG[change][0](document)
    with pytest.raises(ValueError, match="the evaluation document is not valid: ") as caught:
        path.write_text(as_html(document))
    assert WRONG[change][1] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_not_a_document() -> None:
    with pytest.raises(ValueError, match="the whole: Input should be a valid dictionary"):
        checked([])  # type: ignore[arg-type]


def test_without_plotly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"pip install 'edge-envs\[train\]'"):
        (tmp_path / "html.html").write_text(as_html(report_document()))
    assert list(tmp_path.iterdir()) == []
