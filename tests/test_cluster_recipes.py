"""The recipes of `examples/cluster/`: what they start where, by stand-ins for schedulers."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from processes import ROOT

from configs import parse_train
from configs.video_presets import parse_pretrain
from training import hosts

RECIPES = ROOT / "examples" / "cluster"
STANDS_IN = {
    "python": 'echo "python $*"',
    "srun": 'while [[ $1 == -* ]]; do [[ $1 == -w ]] && shift; shift; done; "$@"',
    "ssh": 'echo "on ${@: -2:1}"; bash -c "${@: -1}"',
    "scontrol": "printf '%s\\n' one two three {4..99999}",
    "ray": 'if [[ $1 == status ]]; then printf "1 node_%s\\n" a b c; else echo "ray $*"; fi',
}
"""Commands that are not here, and what each does in place of itself.

Nodes are more than a pipe holds: to read the first alone ends ``scontrol`` by SIGPIPE, every time.
"""


@pytest.fixture
def started(tmp_path):
    """``started(command, **variables)``: the lines that it printed."""
    for name, body in STANDS_IN.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def run(*command, **variables):
        settings = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
        done = subprocess.run(
            command, cwd=ROOT, env=settings, text=True, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def asked(line):
    """Settings of a command of ours, and which process it says it is."""
    _, script, *args = line.split()
    given, rest = hosts._taken(args)
    parse = {"train_agent.py": parse_train, "pretrain_video.py": parse_pretrain}[script]
    return parse(rest, False, "float32"), given


def test_an_array_of_slurm_has_a_seed_for_each_job(started):
    (line,) = started(RECIPES / "slurm_array.sh", "--steps", "90000", SLURM_ARRAY_TASK_ID="3")
    config, _ = asked(line)
    assert (config.seed, config.steps, config.logdir.name) == (3, 90_000, "seed_3")


def test_processes_of_slurm_ask_it_who_they_are(started):
    (line,) = started(RECIPES / "slurm_hosts.sh", "--steps", "90000")
    config, given = asked(line)
    assert (given, config.steps) == ("auto", 90_000)


def test_machines_of_slurm_are_a_cluster_of_ray(started):
    given = {"SLURM_JOB_NODELIST": "nodes", "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "16"}
    lines = started(RECIPES / "slurm_ray.sh", "--steps", "90000", **given)
    assert "ray start --head --port=6379 --num-cpus=4 --block" in lines
    assert "ray start --address=one:6379 --num-cpus=16 --block" in lines
    (line,) = (line for line in lines if line.startswith("python"))
    config, _ = asked(line)
    assert (config.env.workers, config.env.num_envs) == ("ray", 36)


def test_ssh_starts_one_process_on_each_machine(started):
    args = ["me@a", "b", "c", "--", "--data", "moving_digits", "--logdir", "runs/of mine"]
    lines = started(RECIPES / "ssh.sh", *args)
    assert {line for line in lines if line.startswith("on")} == {"on me@a", "on b", "on c"}
    named = sorted(re.findall(r"--hosts (\S+)", " ".join(lines)))
    assert [hosts._named(name) for name in named] == [("a:7777", 3, i) for i in range(3)]


def test_an_indexed_job_of_kubernetes_tells_each_pod_its_index(started):
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text())
    spec = job["spec"]["template"]["spec"]
    name, count = job["metadata"]["name"], job["spec"]["completions"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["parallelism"] == count
    assert service["spec"]["selector"] == {"job-name": name}
    assert (
        spec["subdomain"] == service["metadata"]["name"] and service["spec"]["clusterIP"] == "None"
    )
    for index in range(count):
        (line,) = started(*spec["containers"][0]["command"], JOB_COMPLETION_INDEX=str(index))
        _, given = asked(line)
        assert hosts._named(given) == (f"{name}-0.{spec['subdomain']}:7777", count, index)


@pytest.mark.parametrize("path", sorted(RECIPES.iterdir()), ids=lambda path: path.name)
def test_a_recipe_says_how_it_is_used_and_the_page_how_far_it_was_tried(path: Path):
    assert f"examples/cluster/{path.name}" in path.read_text().split("\n\n")[0]
    assert f"`examples/cluster/{path.name}`" in (ROOT / "docs" / "scaling.md").read_text()
