.PHONY: check lint format types test

check:  ## exactly what continuous integration runs
	.ci/run

lint:
	ruff check . && ruff format --check .

format:
	ruff format . && ruff check --fix .

types:
	mypy

test:
	pytest
