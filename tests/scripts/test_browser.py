"""The report in headless Chromium: it draws without errors, and its tables and plots hold the document's numbers."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.reports.html import as_html
from tests.agents.reports.report_sample import HOSTILE, report_document

REQUIRED = os.environ.get("EDGE_ENVS_NEEDS_BROWSER") == "1"
"""True if a missing browser is a failure, as in CI, rather than a reason to skip."""
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 120_000
PLOTS = ("bars", "distribution", "tradeoff", "curves", "episode")
FIRST, SECOND = "LyaPPO-v0", "SemCom-v0"


def missing(what: str) -> None:
    """Skip the tests, or fail them where the browser is required."""
    reason = f"no browser to look at the report with: {what}"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return report_document()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("pip install playwright")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        missing("install Debian's chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, args=list(SWITCHES), timeout=PATIENCE_MS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(as_html(document))
    return path.as_uri()


@pytest.fixture(scope="module")
def events() -> dict[str, list[str]]:
    """Requests, console messages and errors of the page, over all tests."""
    return {"requests": [], "errors": []}


@pytest.fixture(scope="module")
def open_page(browser: Any, address: str, events: dict[str, list[str]]) -> Any:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    page.on("request", lambda request: events["requests"].append(request.url))
    page.on("console", lambda message: events["errors"].append(message.text))
    page.on("pageerror", lambda error: events["errors"].append(str(error)))
    page.goto(address)
    return page


@pytest.fixture
def page(open_page: Any, events: dict[str, list[str]], address: str) -> Iterator[Any]:
    """The page at its first environment; after every test there must be no request and no error."""
    show(open_page, FIRST)
    yield open_page
    assert events["errors"] == []
    assert {request.partition("#")[0] for request in events["requests"]} == {address}


def show(page: Any, env_id: str) -> None:
    page.evaluate("id => { location.hash = `#${encodeURIComponent(id)}` }", env_id)
    page.wait_for_function("id => document.getElementById('environment').textContent === id", arg=env_id)


def test_nothing_is_offered_to_be_sent_away(page: Any) -> None:
    """Plotly has a button that uploads a chart."""
    page.wait_for_selector(".modebar-btn", state="attached")
    titles = page.eval_on_selector_all(".modebar-btn", "buttons => buttons.map((each) => each.dataset.title || '')")
    assert any("Download" in title for title in titles)
    assert not any(word in title for title in titles for word in ("Share", "loud", "Edit in"))


def section(document: dict[str, Any], env_id: str) -> dict[str, Any]:
    return next(each for each in document["environments"] if each["env_id"] == env_id)


def drawn(page: Any, plot: str) -> list[dict[str, Any]]:
    """The traces that plotly drew."""
    traces: list[dict[str, Any]] = page.evaluate(
        """plot => (document.getElementById(plot)._fullData || []).map((trace) => ({
            x: [...trace.x], y: [...trace.y], name: trace.name, group: trace.legendgroup || "",
            colour: trace.type === "bar" || trace.type === "box" || trace.mode.startsWith("markers")
                ? trace.marker.color : trace.line.color,
            error: trace.error_x && trace.error_x.array ? [trace.error_x.arrayminus[0], trace.error_x.array[0]] : null,
        }))""",
        plot,
    )
    return traces


def expected_cells(environment: dict[str, Any], policy: dict[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    """Column -> value and interval, straight from the document."""

    def of(name: str, part: str) -> tuple[Any, Any, Any]:
        found, prefix = policy["metrics"][name], "" if part == "mean" else f"{part}_"
        return found[part], found[f"{prefix}low"], found[f"{prefix}high"]

    main, score, latency = environment["main"], policy["normalised"] or {}, policy["latency_ms"] or {}
    return {
        "rank": (policy["rank"], None, None),
        "normalised": (score.get("mean"), score.get("low"), score.get("high")),
        "difference": of(main, "difference"),
        "iqm": of(main, "iqm"),
        **{name: of(name, "mean") for name in environment["headline"]},
        "latency_mean": (latency.get("mean"), None, None),
        "latency_p99": (latency.get("p99"), None, None),
    }


def table_rows(page: Any, table: str) -> list[dict[str, Any]]:
    """Rows of a table: the label, and the data and text of every other cell by column."""
    rows: list[dict[str, Any]] = page.evaluate(
        """table => [...document.querySelectorAll(`#${table} tbody tr`)].map((row) => ({
            label: row.cells[0].childNodes[row.cells[0].childNodes.length > 1 ? 1 : 0].textContent,
            cells: Object.fromEntries([...row.cells].slice(1).map((cell) => [cell.dataset.column, {
                ...cell.dataset, text: cell.childNodes[0].textContent, interval: cell.childNodes[1]?.textContent }])),
        }))""",
        table,
    )
    return rows


def assert_shows(text: str, value: float | None, half: float = 0.0) -> None:
    """A number's text is the value, rounded to two digits of half its interval, or to four digits without one."""
    if value is None:
        assert text == "n/a"
        return
    written = text.replace("\u2212", "-")
    mantissa, _, exponent = written.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    assert abs(float(written) - value) <= 0.5001 * unit
    if half and text != "0":
        assert unit <= 0.1001 * half
        assert half <= 100.01 * unit or exponent
    elif not half:
        assert abs(value) <= 10.01e3 * unit
        assert value == 0 or abs(value) >= 0.99e3 * unit


def test_opens_without_errors(page: Any) -> None:
    assert page.title() == "Benchmark: 2 environments"
    assert page.evaluate("window.broken") is None


def test_trainings_and_commit_stand_under_the_table(page: Any, document: dict[str, Any]) -> None:
    show(page, FIRST)
    note = page.locator("#table-note").text_content()
    learned = [policy for policy in section(document, FIRST)["policies"] if policy["runs"]]
    found = ", ".join(f"{policy['label']} {len(policy['runs'])}" for policy in learned)
    assert f"trainings: {found}; edge-envs 0.9.0, commit fcdae9effc. " in note


@pytest.mark.parametrize("env_id", [FIRST, SECOND])
def test_every_number_in_the_table_is_the_documents(page: Any, document: dict[str, Any], env_id: str) -> None:
    show(page, env_id)
    environment = section(document, env_id)
    rows = {row["label"]: row["cells"] for row in table_rows(page, "table")}
    assert set(rows) == {policy["label"] for policy in environment["policies"]}
    for policy in environment["policies"]:
        cells = rows[policy["label"]]
        assert cells.pop("kind")["text"] == policy["kind"]
        assert cells.pop("trainings")["text"] == (str(len(policy["runs"])) if policy["runs"] else "n/a")
        expected = expected_cells(environment, policy)
        assert cells.keys() == expected.keys()
        for column, (value, low, high) in expected.items():
            cell = cells[column]
            assert json.loads(cell["value"]) == value, column
            if column == "rank":
                assert cell["text"] == ("n/a" if value is None else str(value))
                continue
            if low is None:
                assert cell["interval"] is None
                assert_shows(cell["text"], value)
                continue
            assert_shows(cell["text"], value, (high - low) / 2)
            assert (json.loads(cell["low"]), json.loads(cell["high"])) == (low, high), column
            for text, end in zip(cell["interval"].strip("[]").split(", "), (low, high), strict=True):
                assert_shows(text, end, (high - low) / 2)


def test_overview_holds_the_scores(page: Any, document: dict[str, Any]) -> None:
    rows = table_rows(page, "overview-table")
    assert len(rows) == len(document["scores"])
    for row in rows:
        score = next(each for each in document["scores"] if each["label"] == row["label"])
        found = {column: json.loads(cell["value"]) for column, cell in row["cells"].items()}
        assert found == {"mean": score["mean"], **{name: score["by_env"].get(name) for name in (FIRST, SECOND)}}
    means = [json.loads(row["cells"]["mean"]["value"]) for row in rows]
    assert means[-1] is None
    assert means[:-1] == sorted(means[:-1], reverse=True)


@pytest.mark.parametrize("column", ["policy", "finished_ratio", "latency_p99"])
def test_sorting_both_ways_with_nulls_last(page: Any, document: dict[str, Any], column: str) -> None:
    environment = section(document, FIRST)
    keys = {
        policy["label"]: policy["label"] if column == "policy" else expected_cells(environment, policy)[column][0]
        for policy in environment["policies"]
    }
    numbered = {label: key for label, key in keys.items() if key is not None}
    empty = [label for label, key in keys.items() if key is None]
    head = page.locator(f"#table thead th[data-column={column}]")
    button = head.locator("button")
    for direction in ("ascending", "descending"):
        if column == "policy":
            button.focus()
            page.keyboard.press("Enter")
        else:
            button.click()
        assert head.get_attribute("aria-sort") == direction
        assert page.locator("#table th[aria-sort]").count() == 1
        ordered = sorted(numbered, key=lambda label: numbered[label], reverse=direction == "descending")
        assert [row["label"] for row in table_rows(page, "table")] == ordered + empty


def test_switching_the_environment_changes_tables_and_plots(page: Any, document: dict[str, Any], address: str) -> None:
    before = drawn(page, "bars")
    page.get_by_role("link", name=SECOND).click()
    page.wait_for_function("id => document.getElementById('environment').textContent === id", arg=SECOND)
    assert page.url == f"{address}#{SECOND}"
    labels = {policy["label"] for policy in section(document, SECOND)["policies"]}
    assert {row["label"] for row in table_rows(page, "table")} == labels
    after = drawn(page, "bars")
    assert [trace["x"] for trace in after] != [trace["x"] for trace in before]
    assert page.locator("nav a[aria-current=page]").all_inner_texts() == [SECOND]
    for plot in ("curves", "episode"):
        assert drawn(page, plot) == []
        assert page.locator(f"#{plot}").inner_text().startswith("No")
    page.go_back()
    page.wait_for_function("id => document.getElementById('environment').textContent === id", arg=FIRST)
    assert drawn(page, "bars") == before
    assert len(drawn(page, "curves")) == 4


def test_environment_of_the_address(open_page: Any, address: str) -> None:
    for part, env_id in ((SECOND, SECOND), ("nothing", FIRST), ("%", FIRST)):
        open_page.goto("about:blank")
        open_page.goto(f"{address}#{part}")
        assert open_page.locator("#environment").inner_text() == env_id


def test_an_id_with_special_characters_can_be_linked_to(browser: Any, document: dict[str, Any], tmp_path: Path) -> None:
    env_id, path = "mine/Süd:1.5-v0", tmp_path / "report.html"
    first, second = document["environments"]
    path.write_text(as_html({**document, "environments": [first, {**second, "env_id": env_id}], "scores": None}))
    page = browser.new_page()
    page.goto(path.as_uri())
    page.get_by_role("link", name=env_id).click()
    page.wait_for_function("id => document.getElementById('environment').textContent === id", arg=env_id)
    assert page.locator("nav a[aria-current=page]").all_inner_texts() == [env_id]
    page.goto("about:blank")
    page.goto(f"{path.as_uri()}#{env_id}")
    assert page.locator("#environment").inner_text() == env_id
    page.close()


def test_every_choice_draws_the_documents_numbers(page: Any, document: dict[str, Any]) -> None:
    environment = section(document, FIRST)
    policies, names = environment["policies"], [metric["name"] for metric in environment["metrics"]]
    having = {name: [each for each in policies if each["metrics"][name]["mean"] is not None] for name in names}
    for name in names:
        page.select_option("#comparison-metric", name)
        for trace, policy in zip(drawn(page, "bars"), having[name], strict=True):
            found = policy["metrics"][name]
            assert trace["x"] == [found["mean"]]
            ends = [0, 0] if found["low"] is None else [found["mean"] - found["low"], found["high"] - found["mean"]]
            assert trace["error"] == pytest.approx(ends, rel=1e-12)
        for trace, policy in zip(drawn(page, "distribution"), having[name], strict=True):
            assert trace["x"] == [value for run in policy["metrics"][name]["by_episode"] for value in run]
        page.select_option("#tradeoff-metric", name)
        page.select_option("#tradeoff-metric-2", names[-1])
        points = [(trace["x"][0], trace["y"][0]) for trace in drawn(page, "tradeoff")]
        assert points == [(each["metrics"][name]["mean"], each["metrics"][names[-1]]["mean"]) for each in having[name]]
        page.select_option("#curves-metric", name)
        *lines, reference = drawn(page, "curves")
        assert [line["y"] for line in lines] == [curve["metrics"][name] for curve in environment["curves"]]
        assert [line["x"] for line in lines] == [curve["steps"] for curve in environment["curves"]]
        assert reference["y"] == [policies[0]["metrics"][name]["mean"]] * 2
    for name in ("reward", "action_mean"):
        page.select_option("#episode-metric", name)
        series = environment["episode"]["series"]
        assert [trace["y"] for trace in drawn(page, "episode")] == [each[name] for each in series.values()]


def test_every_plot_is_painted_in_the_policys_colour(page: Any, document: dict[str, Any]) -> None:
    environment = section(document, FIRST)
    labels = [policy["label"] for policy in environment["policies"]]
    colours = dict(zip(labels, (trace["colour"] for trace in drawn(page, "bars")), strict=True))
    assert len(set(colours.values())) == len(labels)
    for plot in ("distribution", "tradeoff"):
        assert [trace["colour"] for trace in drawn(page, plot)] == list(colours.values())
    assert [trace["colour"] for trace in drawn(page, "episode")] == [colours[label] for label in labels[:4]]
    assert [trace["colour"] for trace in drawn(page, "curves")] == [colours[labels[2]]] * 3 + [colours[labels[0]]]
    painted = {plot: page.locator(f"#{plot} .trace").count() for plot in PLOTS}
    assert painted == {"bars": 5, "distribution": 5, "tradeoff": 5, "curves": 4, "episode": 4}
    assert page.locator("#bars .errorbar path").count() == len(labels)
    assert page.locator("#episode .lines path").count() == 4
    assert page.locator("#curves .legend .traces").count() == 2


def test_notes_are_shown(page: Any, document: dict[str, Any]) -> None:
    assert page.locator("#notes").is_visible()
    assert page.locator("#notes li").all_text_contents() == document["notes"]


def test_hostile_label_is_only_text(page: Any) -> None:
    assert HOSTILE in [row["label"] for row in table_rows(page, "table")]
    ticks = page.locator("#bars .ytick").all_text_contents()
    assert any(re.match(r"</script><scr.*</b>", tick) for tick in ticks)
    assert page.locator("b, header script, main script").count() == 0


@pytest.mark.parametrize("width", [360, 800])
def test_no_horizontal_scrolling(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    try:
        mode = "markers" if width < 720 else "markers+text"
        page.wait_for_function("mode => document.getElementById('tradeoff')._fullData[0].mode === mode", arg=mode)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        for env_id in (SECOND, FIRST):
            show(page, env_id)
            page.wait_for_function("document.querySelector('#bars .main-svg').clientWidth <= innerWidth")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("(box => box.scrollWidth > box.clientWidth)(document.getElementById('table'))")
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


def test_details_show_configuration_and_versions(page: Any, document: dict[str, Any]) -> None:
    environment = section(document, FIRST)
    found = page.locator("#configuration tbody").text_content()
    for name, value in environment["configuration"].items():
        assert f"{name}{value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}" in found
    versions = page.locator("#versions tbody").text_content()
    assert "edge-envs0.9.0" in versions
    assert page.locator("#caveat").inner_text() == environment["caveat"]
    assert str(environment["episode"]["seed"]) in page.locator("#episode-note").inner_text()
    others = [policy for policy in environment["policies"] if policy["kind"] != "baseline"]
    lines = page.locator("#policies tbody tr")
    assert lines.count() == len(others)
    for line, policy in zip(lines.all(), others, strict=True):
        assert all(part in (line.text_content() or "") for part in (policy["label"], policy["kind"], *policy["runs"]))
    for heading in ("2,000 resamples", "common random numbers", "first 25 %", "only covers the variation"):
        assert heading in page.locator("#method").inner_text()


def test_missing_browser_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    for required, outcome in ((True, pytest.fail.Exception), (False, pytest.skip.Exception)):
        monkeypatch.setitem(globals(), "REQUIRED", required)
        with pytest.raises(outcome, match="no browser to look at the report with: none"):
            missing("none")


def test_report_of_one_environment_has_no_overview(browser: Any, document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "one.html"
    path.write_text(as_html({**document, "environments": document["environments"][1:], "scores": None, "notes": []}))
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.title() == f"Evaluation of {SECOND}"
    assert not page.locator("#overview").is_visible()
    assert not page.locator("#notes").is_visible()
    assert not page.locator("#environments").is_visible()
    page.close()
