"""Documents of format 1, written by an earlier version, are read as those of format 2."""

from __future__ import annotations

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from agents.evaluation.results import FORMAT
from agents.reports.files import as_csv, as_markdown
from agents.reports.html import as_html
from agents.reports.schema import checked, upgraded

KEYS = {
    "settling": "warmup_fraction", "bar": "reference_baseline", "upper_bar": "strongest_baseline", "scheme": "ablation",
}  # fmt: skip


@pytest.fixture
def old() -> dict[str, Any]:
    """A document that `evaluate.py` wrote before format 2, with a policy of each kind."""
    document: dict[str, Any] = json.loads(Path(__file__).with_name("format_1.json").read_text())
    assert document["format"] == 1
    return document


def test_the_keys_and_kinds_have_their_new_names(old: dict[str, Any]) -> None:
    before = copy.deepcopy(old)
    new = upgraded(old)
    assert old == before
    assert new["format"] == FORMAT == 2
    (section,) = new["environments"]
    assert (section["warmup_fraction"], section["reference_baseline"], section["strongest_baseline"]) == (
        0.25, "wanted", "wanted",
    )  # fmt: skip
    kinds = {policy["label"]: policy["kind"] for policy in section["policies"]}
    assert kinds == {
        "wanted": "baseline", "random": "baseline", "a": "learned", "mine:make": "custom", "shifted": "ablation",
    }  # fmt: skip
    assert section["policies"][4]["ablation"] == {
        "policy": "wanted", "options": {"offset": 10.0}, "meaning": "all metrics are larger",
    }  # fmt: skip
    assert section["policies"][0]["ablation"] is None


def test_nothing_else_changes(old: dict[str, Any]) -> None:
    new = upgraded(old)
    assert {**new, "format": 1, "environments": old["environments"]} == old
    for one, other in zip(old["environments"], new["environments"], strict=True):
        assert {KEYS.get(key, key) for key in one} == set(other)
        assert all(other[KEYS.get(key, key)] == value for key, value in one.items() if key != "policies")
        for policy, again in zip(one["policies"], other["policies"], strict=True):
            assert {KEYS.get(key, key) for key in policy} == set(again)
            assert all(again[KEYS.get(key, key)] == value for key, value in policy.items() if key != "kind")


def test_old_names_of_metrics_and_options_stay(old: dict[str, Any]) -> None:
    """Only the document's own keys are renamed."""
    section = old["environments"][0]
    section["options"] = section["configuration"] = {"bar": 1, "scheme": "own"}
    (new,) = upgraded(old)["environments"]
    assert new["options"] == new["configuration"] == {"bar": 1, "scheme": "own"}


def test_everything_is_written_from_an_old_document(old: dict[str, Any]) -> None:
    new = upgraded(old)
    assert checked(old) == checked(new)
    assert as_csv(old) == as_csv(new)
    assert as_markdown(old) == as_markdown(new)
    assert as_html(old) == as_html(new)
    kinds = {row["policy"]: row["kind"] for row in csv.DictReader(io.StringIO(as_csv(old)))}
    assert (kinds["shifted"], kinds["mine:make"]) == ("ablation", "custom")
    assert "| shifted | ablation |" in as_markdown(old)


def test_a_new_document_is_returned_as_it_is(old: dict[str, Any]) -> None:
    new = upgraded(old)
    assert upgraded(new) is new


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"environments": 3}, "environments: Input should be a valid list"),
        ({"environments": [3]}, "environments.0: Input should be a valid dictionary"),
        ({"environments": [{"policies": {}}]}, "environments.0.env_id: Field required"),
    ],
)
def test_a_damaged_old_document_is_refused(old: dict[str, Any], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="the evaluation document is not valid: ") as caught:
        checked({**old, **wrong})
    assert message in str(caught.value)


def test_a_kind_of_format_1_is_refused_in_format_2(old: dict[str, Any]) -> None:
    new = json.loads(json.dumps(upgraded(old)))
    new["environments"][0]["policies"][4]["kind"] = "scheme"
    with pytest.raises(ValueError, match=r"policies\.4\.kind: Input should be"):
        checked(new)
