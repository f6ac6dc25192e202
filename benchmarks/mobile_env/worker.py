"""Worker for `timing.Worker` in mobile-env's virtual environment: plays one episode per repetition."""

import json
import sys
import time
from itertools import cycle
from typing import Any

import gymnasium as gym
import mobile_env  # noqa: F401  (registers its environments)
import numpy as np


def main(env_id: str) -> None:
    """Play an episode, including the reset, for every line on standard input; print its seconds per step."""
    env: gym.Env[Any, Any] = gym.make(env_id)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = cycle([env.action_space.sample() for _ in range(64)])
    print(json.dumps({"gymnasium": gym.__version__, "numpy": np.__version__}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        steps, over = 0, False
        env.reset()
        while not over:
            _, _, terminated, truncated, _ = env.step(next(actions))
            steps, over = steps + 1, terminated or truncated
        print((time.perf_counter() - started) / steps, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
