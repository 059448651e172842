"""The scripts of docs/cluster.md call what they say, once for each part."""

import re
import subprocess

import pytest

from etl.parts import Part
from tests.conftest import ROOT

BLOCKS = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
SLURM, SSH, RAY = BLOCKS


@pytest.fixture
def bash(tmp_path):
    """Run a script in a project's folder where `strata` and `ssh` write down what they are asked for."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f"PATH={tmp_path}/bin:$PATH\n")
    (tmp_path / "bin").mkdir()
    said = tmp_path / "said.txt"
    bodies = {
        "strata": f'echo "$@" >> {said}',
        "ssh": 'shift; exec bash -c "$1"',
        "srun": 'exec "$@"',
        "scontrol": "printf 'one\\ntwo\\n'",
        "ray": f'''echo "ray $@" >> {said}; while [ "$1" != -- ] && shift; do :; done; shift; exec "$@"''',
    }
    for name, body in bodies.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(script: str, **environment: str) -> list[str]:
        path = f"{tmp_path}/bin:/usr/bin:/bin"
        subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env={"PATH": path, **environment}, check=True, timeout=60
        )
        return sorted(said.read_text().splitlines())

    return run


def test_a_task_of_the_array_is_one_part_of_each_source_model(bash, tmp_path):
    (tasks,) = re.findall(r"--array=1-(\d+)", SLURM)
    said = bash(SLURM, SLURM_ARRAY_TASK_ID="3", SLURM_SUBMIT_DIR=str(tmp_path))
    assert said == [f"extract {name} --shard 3/{tasks}" for name in ("alignn_mp_eform", "chgnet")]


def test_every_host_has_one_part_and_none_is_left_over(bash, tmp_path):
    said = bash(SSH.replace("/shared/strata", str(tmp_path)))
    parts = [Part.parse(line.split()[-1]) for line in said]
    assert all(re.fullmatch(r"extract alignn_mp_eform --shard \d/\d", line) for line in said)
    assert [part.number for part in parts] == list(range(1, parts[0].of + 1))


def test_the_job_of_ray_names_one_address_to_all(bash, tmp_path):
    asked = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "16"}
    said = bash(RAY, SLURM_SUBMIT_DIR=str(tmp_path), SLURM_JOB_ID="4007", **asked)
    first, token, run = said
    assert (first, token) == ("extract", "ray get-auth-token --generate")
    assert run.startswith("ray symmetric-run --address one:6386 --min-nodes 2 --num-cpus=16 ")
    assert run.endswith(" -- env RAY_ADDRESS=one:6386 strata extract")
