"""Agents of one's own: what is called, and what is said when they fail."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.evaluation.comparison import compare
from agents.evaluation.contestants import find_entries, find_entry
from agents.evaluation.custom_agent import is_custom_agent
from tests.agents.toy import TOY, WANTED

MODULE = "mine_for_tests"
GOOD = f"""
import numpy as np
ACTION = np.array({WANTED.ravel().tolist()})

class Agent:
    calls = []
    def __init__(self, env):
        self.worlds = env.num_envs
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.calls.append((observation.shape, state, episode_start.tolist(), deterministic))
        return np.tile(ACTION, (len(observation), 1)), (state or 0) + 1

make = Agent
number = 3
no_predict = lambda env: number
def failing(env):
    raise KeyError("weights")

class Bad(Agent):
    def __init__(self, answer):
        self.answer = answer
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return self.answer(observation)

wide = lambda env: Bad(lambda seen: (np.zeros((len(seen), 5), int), None))
single = lambda env: Bad(lambda seen: (ACTION, None))
beyond = lambda env: Bad(lambda seen: (np.full((len(seen), 4), 9), None))
floats = lambda env: Bad(lambda seen: (np.zeros((len(seen), 4)), None))
bare = lambda env: Bad(lambda seen: np.tile(ACTION, (len(seen), 1)))
nothing = lambda env: Bad(lambda seen: None)
raising = lambda env: Bad(lambda seen: 1 / 0)
leaving = lambda env: Bad(lambda seen: exit(0))
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch, toy_id):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path(f"{MODULE}.py").write_text(GOOD)
    yield
    for name in [name for name in sys.modules if name.startswith(MODULE)]:
        del sys.modules[name]


def test_it_plays_as_a_baseline_does():
    entries = find_entries([f"{MODULE}:make", "wanted"], TOY, "default", {})
    assert [entry.kind for entry in entries] == ["custom", "baseline"]
    agent = sys.modules[MODULE].Agent
    assert agent.calls == [((1, 7), None, [True], True)]  # the check
    agent.calls.clear()
    results = compare(entries, TOY, "default", {}, seeds=2, episodes=3)
    for name, values in results["wanted"].episodes.items():
        np.testing.assert_array_equal(results[f"{MODULE}:make"].episodes[name], values)
    assert agent.calls[0] == ((6, 7), None, [True] * 6, True)
    assert [state for _, state, _, _ in agent.calls[1:]] == list(range(1, len(agent.calls)))


def test_a_label_and_a_package():
    Path(f"{MODULE}_package").mkdir()
    Path(f"{MODULE}_package/inside.py").write_text(GOOD)
    assert find_entry(f"ours={MODULE}_package.inside:make", TOY, "default", {}).label == "ours"


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("no_such_module:make", ["there is no module 'no_such_module'", "can be imported from"]),
        (f"{MODULE}.inner:make", [f"there is no module '{MODULE}.inner'"]),
        (f"{MODULE}:mke", [f"{MODULE} has no 'mke'; define it there"]),
        (f"{MODULE}:number", ["number cannot be called; give a function of the environment"]),
        (f"{MODULE}:no_predict", ["the factory returned int, which has no predict"]),
        (f"{MODULE}:failing", ["the factory failed at ", f"{MODULE}.py:17 (KeyError: 'weights')"]),
        (f"{MODULE}:wide", ["actions have shape (1, 5), expected (1, 4)"]),
        (f"{MODULE}:single", ["actions have shape (4,), expected (1, 4)"]),
        (f"{MODULE}:beyond", ["action[0] = 9 of row 0 is not in"]),
        (f"{MODULE}:floats", ["actions have dtype float64, expected int64"]),
        (f"{MODULE}:bare", ["predict returned ndarray; return (actions, state)"]),
        (f"{MODULE}:nothing", ["predict returned NoneType; return (actions, state)"]),
        (f"{MODULE}:raising", ["predict failed at", f"{MODULE}.py:", "ZeroDivisionError: division by zero"]),
        (f"{MODULE}_broken:make", [f"importing {MODULE}_broken failed at", "broken.py:2 (NameError: name 'undefined'"]),
        (f"{MODULE}_needy:make", ["(ModuleNotFoundError: No module named 'no_such_package')"]),
        (f"{MODULE}:leaving", ["predict failed at", "SystemExit: 0"]),
        (f"{MODULE}_gone:make", [f"importing {MODULE}_gone failed at", "gone.py:2 (SystemExit: bye"]),
        (f"{MODULE}_torn:make", [f"importing {MODULE}_torn failed", "SyntaxError"]),
    ],
)  # fmt: skip
def test_an_invalid_agent_takes_one_line(name, messages):
    Path(f"{MODULE}_broken.py").write_text("import numpy\nundefined\n")
    Path(f"{MODULE}_needy.py").write_text("import no_such_package\n")
    Path(f"{MODULE}_gone.py").write_text("import sys\nsys.exit('bye')\n")
    Path(f"{MODULE}_torn.py").write_text("def make(env:\n")
    with pytest.raises(ValueError, match=re.escape(f"policy={name!r}: ")) as caught:
        find_entry(name, TOY, "default", {})
    said = " ".join(str(caught.value).split())
    for message in messages:
        assert message in said


@pytest.mark.parametrize("name", ["a:b", "a.b_1:c2", "_x:y"])
def test_names_of_factories(name):
    assert is_custom_agent(name)


@pytest.mark.parametrize("name", ["a", "a:", ":b", "a:b:c", "a/b:c", "1a:b", "a.:b", "a:b-c", "C:\\x"])
def test_other_names(name):
    assert not is_custom_agent(name)


def test_a_folder_of_that_name_is_a_folder():
    Path("a:b").mkdir()
    assert not is_custom_agent("a:b")
