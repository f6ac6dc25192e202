"""A small evaluation document as `evaluate.py` makes it, with invented numbers, for tests of the report."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEDS, EPISODES, STEPS = 3, 4, 40
HOSTILE = """</script><script>window.broken = true</script> "it's" & <b>$script ${style}</b>\u2028"""
"""A label with everything that could break out of a page."""
METRICS = {
    "LyaPPO-v0": {
        "power_mw": ("mW", 100.0), "backlog_edge_cycles": ("cycles", 3.4e7), "finished_ratio": ("-", 0.99),
        "certificate": ("-", 3e-14), "reward": ("-", -4.0), "return": ("-", -800.0),
    },
    "SemCom-v0": {
        "energy_j": ("J", 2.5e-6), "delay_s": ("s", 0.75), "log_energy_j": ("-", -13.0), "reward": ("-", -0.3),
        "return": ("-", -30.0),
    },
}  # fmt: skip
"""Environment -> metric -> unit and size."""
CAST = {
    "LyaPPO-v0": (("best-fixed", "baseline", 0), ("random", "baseline", 0), ("ppo, 3 seeds", "learned", 3),
                  (HOSTILE, "custom", 0), ("no-queue", "ablation", 0)),
    "SemCom-v0": (("drift-polish", "baseline", 0), ("random", "baseline", 0),
                  ("SemCom-v0__ppo__0__20261120-193540", "learned", 1), ("average", "baseline", 0)),
}  # fmt: skip
"""Environment -> label, kind and number of training runs of its policies."""


def report_document() -> dict[str, Any]:
    """Two environments, a label that attacks the page, and null wherever it is allowed."""
    rng = np.random.default_rng(6)
    environments = [environment(env_id, rng) for env_id in METRICS]
    first, second = environments
    for name in ("low", "high", "iqm_low", "iqm_high", "difference_low", "difference_high"):
        first["policies"][4]["metrics"]["power_mw"][name] = None
    first["policies"][4]["metrics"]["certificate"] = dict.fromkeys(first["policies"][4]["metrics"]["certificate"]) | {
        "by_seed": [[None] * SEEDS], "by_episode": [[None] * SEEDS * EPISODES],
    }  # fmt: skip
    first["policies"][4] |= {"normalised": None, "rank": None, "latency_ms": None, "training": None}
    first["policies"][4]["ablation"] = {"policy": "best-fixed", "options": {"queue": False}, "meaning": "no queue"}
    first["policies"][3]["latency_ms"]["p99"] = None
    first["curves"][1]["metrics"]["power_mw"][3] = None
    second |= {"caveat": "", "episode": None, "curves": []}
    labels = dict.fromkeys(policy["label"] for each in environments for policy in each["policies"])
    scores = []
    for label in labels:
        by_env: dict[str, float | None] = {
            each["env_id"]: policy["normalised"] and policy["normalised"]["mean"]
            for each in environments for policy in each["policies"] if policy["label"] == label
        }  # fmt: skip
        found = [value for value in by_env.values() if value is not None]
        scores.append({"label": label, "by_env": by_env, "mean": float(np.mean(found)) if found else None})
    return {
        "format": 2, "confidence": 0.95, "resamples": 2000,
        "provenance": {
            "versions": {"python": "3.11.7", "edge-envs": "0.9.0", "torch": "2.13.0+cpu"}, "git": "fcdae9ef" * 5,
            "started": "2026-11-20T19:35:40+0000", "command": ["evaluate.py", "--all"], "torch_threads": 1,
        },
        "environments": environments, "scores": scores, "notes": [f"skipped runs/{HOSTILE}: damaged", "and another"],
    }  # fmt: skip


def environment(env_id: str, rng: np.random.Generator) -> dict[str, Any]:
    """One environment; the policies' levels differ by tens of percent."""
    metrics, cast = METRICS[env_id], CAST[env_id]
    names, labels = list(metrics), [label for label, _, _ in cast]
    common = {name: 0.05 * rng.standard_normal(SEEDS * EPISODES) for name in names}
    values: dict[str, dict[str, NDArray[np.float64]]] = {}
    for place, (label, _, runs) in enumerate(cast):
        level = 1.0 + (1.0 if label == "random" else 0.07 * place)
        noise = 0.02 * rng.standard_normal((len(names), max(1, runs), SEEDS * EPISODES))
        values[label] = {
            name: metrics[name][1] * (level + common[name] + own) for name, own in zip(names, noise, strict=True)
        }
    floor, ceiling = (values[label]["reward"].mean() for label in ("random", labels[0]))
    policies = []
    for place, (label, kind, runs) in enumerate(cast):
        score = float((values[label]["reward"].mean() - floor) / (ceiling - floor))
        policies.append({
            "label": label, "kind": kind, "runs": [f"runs/{env_id}__{seed}" for seed in range(runs)],
            "training": "preset default" if runs else None, "ablation": None,
            "metrics": {name: statistics(values[label][name], values[labels[0]][name]) for name in names},
            "normalised": {"mean": score, "low": score - 0.02, "high": score + 0.03}, "rank": place + 1,
            "latency_ms": {"mean": 0.05 + 0.21 * place, "p99": 0.1 + 0.4 * place, "steps": 200},
        })  # fmt: skip
    curves = [
        {
            "label": label, "run": f"runs/{env_id}__{seed}", "steps": list(range(0, 10000, 1000)),
            "metrics": {
                name: (size * (1.0 + np.exp(-np.arange(10) / 3) + 0.03 * rng.standard_normal(10))).tolist()
                for name, (_, size) in metrics.items()
            },
        }
        for label, _, runs in cast for seed in range(runs)
    ]  # fmt: skip
    shown = [name for name in names if name != "return"]
    return {
        "env_id": env_id, "preset": "default", "options": {}, "seeds": SEEDS, "episodes": EPISODES,
        "warmup_fraction": 0.25, "caveat": "Levels were fitted to the paper's figures.",
        "reference_baseline": labels[0], "strongest_baseline": labels[0],
        "main": names[0], "headline": [*names[:3], "reward"],
        "metrics": [{"name": name, "unit": unit, "meaning": f"what {name} is"} for name, (unit, _) in metrics.items()],
        "configuration": {"num_devices": 3, "cuts": [0, 3, 8], "network": "alexnet", "blocked": None},
        "policies": policies, "curves": curves,
        "episode": {
            "seed": 12345678901234567,
            "series": {
                label: {
                    name: (metrics.get(name, ("", 4.0))[1] * (1 + 0.2 * rng.standard_normal(STEPS).cumsum())).tolist()
                    for name in [*shown, "action_mean"]
                }
                for label in labels[:4]
            },
        },
    }  # fmt: skip


def statistics(values: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, Any]:
    """Statistics of scores (runs, episodes), with intervals that are only plausible."""
    by_seed = values.reshape(len(values), SEEDS, EPISODES).mean(axis=2)
    mean, spread = float(values.mean()), float(2.0 * values.std() / np.sqrt(values.size))
    gap = mean - float(reference.mean())
    found = {"mean": mean, "iqm": float(np.median(by_seed)), "difference": gap}
    for name, value in list(found.items()):
        prefix = "" if name == "mean" else f"{name}_"
        found |= {f"{prefix}low": value - spread, f"{prefix}high": value + 1.5 * spread}
    return found | {"by_seed": by_seed.tolist(), "by_episode": values.tolist()}
