"""Validation curves of run folders."""

from __future__ import annotations

import pytest

from agents.evaluation import results
from agents.evaluation.contestants import Entry
from agents.runs.curves import LARGEST_BYTES, curve_of
from agents.runs.folder import EVALUATION
from tests.agents.toy_runs import toy_run


def test_a_curve_of_what_is_not_defined_has_gaps(tmp_path, toy_id):
    run = toy_run(tmp_path / "run")
    (run.path / EVALUATION).write_text("step,reward,certificate\n0,1,nan\n64,2,0.5\n128,3,inf\n")
    assert curve_of(run)["metrics"] == {"reward": [1.0, 2.0, 3.0], "certificate": [None, 0.5, None]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("", "not enough values"),
        ("return,reward\n1,2\n", "its columns are not those of a table of validations"),
        ("step,reward,reward\n1,2,3\n", "its columns are not those of a table of validations"),
        ("step,reward\n", "or there are none"),
        ("step,reward\n1\n", "row 1 has 1 values for 2 columns"),
        ("step,reward\n1,nan\n", "reward is nan in row 1"),
        ("step,reward\nnan,1\n", "step is nan in row 1"),
        ("step,reward\n1,2\n3,1e999\n", "reward is 1e999 in row 2"),
        ("step,reward\n1,many\n", "could not convert"),
        ("step,reward\n2,1\n1,1\n", "its steps decrease"),
        ("step,reward\n" + "1,1\n" * LARGEST_BYTES, "is larger than"),
        ('step,reward\n1,"2\n', "unexpected end of data"),
        (b"\xff\xfe", "can't decode"),
        ("step,reward\n1,\x1b[2J" + "x" * 999 + "\n", "\\x1b[2Jx"),
    ],
)  # fmt: skip
def test_a_damaged_curve_is_reported_and_left_out(tmp_path, toy_id, content, complaint):
    run = toy_run(tmp_path / "run")
    file = run.path / EVALUATION
    file.unlink()
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="no curve of ") as caught:
        curve_of(run)
    assert complaint in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(file)) + 90
    notes: list[str] = []
    assert results.curves([Entry("x", run)], notes) == []
    assert notes == [str(caught.value)]
