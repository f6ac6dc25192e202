# Two commands matter: `make train` and `make test`. Both set up .venv first, and again when its inputs change.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?= --env LyaPPO-v0
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test lint types unit smoke benchmark clean

train: $(VENV)/stamp
	$(BIN)/python train.py $(ARGS)

test: lint types unit smoke

lint: $(VENV)/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/stamp
	$(BIN)/mypy

unit: $(VENV)/stamp
	$(BIN)/python -m pytest -n 2

# The main job from end to end, small: train, evaluate what was trained, and the benchmark programme.
smoke: $(VENV)/stamp
	rm -rf $(VENV)/smoke $(VENV)/smoke-dtirs $(VENV)/smoke-semcom $(VENV)/smoke-codec $(VENV)/smoke-split \
		$(VENV)/smoke-eccnoma $(VENV)/smoke-member-ppo
	$(BIN)/python train.py --env LyaPPO-v0 --steps 8192 --run $(VENV)/smoke --seeds 2 --episodes 4
	$(BIN)/python evaluate.py --env LyaPPO-v0 --policies best-fixed $(VENV)/smoke random --seeds 2 --episodes 4
	$(BIN)/python train.py --env DTIRS-v0 --steps 2048 --run $(VENV)/smoke-dtirs --seeds 2 --episodes 1 \
		--set max_episode_steps=20
	$(BIN)/python evaluate.py --env DTIRS-v0 --preset paper --set max_episode_steps=1 num_devices=20 \
		--policies proposed no-irs no-dt ga admm-equal safeguarded --seeds 2 --episodes 1
	$(BIN)/python -m edge_envs.dtirs.split_training --rounds 3 --users 2 --width 0.125 --out $(VENV)/smoke-split
	$(BIN)/python train.py --env ECCNOMA-v0 --steps 320 --num-envs 4 --run $(VENV)/smoke-eccnoma --seeds 2 --episodes 1 \
		--set max_episode_steps=20
	$(BIN)/python train.py --env ECCNOMA-v0 --agent member-ppo --steps 400 --num-envs 8 --run $(VENV)/smoke-member-ppo \
		--seeds 0
	$(BIN)/python evaluate.py --env ECCNOMA-v0 --preset large --set max_episode_steps=5 --seeds 2 --episodes 1 \
		--policies iterated-best-response $(VENV)/smoke-eccnoma $(VENV)/smoke-member-ppo
	$(BIN)/python evaluate.py --env ECCNOMA-v0 --preset paper --set max_episode_steps=1 num_users=20 num_subchannels=4 \
		--policies device-only edge-only-oma neurosurgeon-oma dnn-surgeon-oma ecc-tdma ecc-oma ecc-noma --seeds 2 --episodes 1
	$(BIN)/python train.py --env SemCom-v0 --steps 4096 --run $(VENV)/smoke-semcom --seeds 2 --episodes 1
	$(BIN)/python evaluate.py --env SemCom-v0 --preset paper --set decision=joint max_episode_steps=1 \
		--policies joint alg3 average --seeds 2 --episodes 4
	$(BIN)/python -m edge_envs.semcom.jscc --steps 20 --out $(VENV)/smoke-codec

benchmark: $(VENV)/stamp
	$(BIN)/python -m benchmarks

$(VENV)/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch -e ".[train,reference,codec,dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
