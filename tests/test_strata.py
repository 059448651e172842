"""The command line as a user meets it: help, version, errors and signals."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import strata

ROOT = Path(strata.__file__).parent


def run(*args: str, cwd: Path = ROOT, code: str = "from strata import main; main()"):
    """Run `strata *args` in a process of its own, from the code under test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"strata {strata.__version__}\n")


@pytest.mark.parametrize("stage", ["ingest", "extract", "split", "fit", "evaluate", "report"])
def test_every_stage_is_a_command_with_help(stage):
    done = run(stage, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_help_lists_commands_under_each_rooms_heading():
    done = run("--help")
    assert done.returncode == 0, done.stderr
    for heading in strata.ROOMS.values():
        assert heading in done.stdout
    for command in ("sql", "info", "features", "heads", "datasets", "predict"):
        assert f" {command} " in done.stdout


def test_commands_of_one_group_may_come_from_several_rooms():
    from typer.testing import CliRunner

    for _ in range(2):  # building the command line changes no room's own group
        said = CliRunner().invoke(strata.command(), ["datasets", "--help"], env={"COLUMNS": "100"}).output
        for name in ("list", "show", "duplicates", "report"):
            assert said.count(f" {name} ") == 1
    from etl.cli import datasets

    assert "report" not in {command.name for command in datasets.registered_commands}


def test_help_imports_no_heavy_stack():
    code = (
        "import sys, strata\n"
        "try: strata.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'tensorflow', 'keras', 'lightgbm', 'ase', 'pymatgen', 'jarvis', 'matminer',\n"
        "         'sklearn', 'scipy', 'duckdb', 'altair', 'dgl'} & set(sys.modules)\n"
        "sys.exit(f'imported for --help: {sorted(heavy)}' if heavy else 0)"
    )
    done = run("--help", code=code)
    assert done.returncode == 0, done.stderr


def test_bad_params_end_with_2_and_one_paragraph(tmp_path):
    (tmp_path / "params.yaml").write_text("extract: {sourc_model: x}\n", encoding="utf-8")
    done = run("extract", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'source_models'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_ends_with_2_and_one_paragraph(monkeypatch, capsys, code):
    def fail():
        raise OSError(code, os.strerror(code), "report/index.html")

    monkeypatch.setattr(strata, "command", lambda: fail)
    with pytest.raises(SystemExit) as ended:
        strata.main()
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(
        f"Error: report/index.html: {os.strerror(code)}. What was committed before is kept"
    )


def test_another_error_of_the_system_is_not_hidden(monkeypatch):
    def fail():
        raise OSError(errno.EBADF, "a mistake of ours")

    monkeypatch.setattr(strata, "command", lambda: fail)
    with pytest.raises(OSError, match="a mistake of ours"):
        strata.main()


def test_unknown_command_is_a_usage_error():
    done = run("extrct")
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_without_traceback(number, status):
    # A room whose command waits stands in for a long stage.
    code = (
        "import sys, time, types, typer, strata\n"
        "room = types.ModuleType('slow.cli'); room.app = typer.Typer()\n"
        "@room.app.command()\n"
        "def wait():\n"
        "    print('ready', flush=True); time.sleep(60)\n"
        "@room.app.command()\n"
        "def other(): ...\n"
        "sys.modules['slow.cli'] = room; strata.ROOMS = {'slow': 'Slow'}\n"
        "strata.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "wait"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts a background job with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in stderr


def test_python_api_is_the_rooms_own():
    import featurestore

    assert strata.open is featurestore.open
    with pytest.raises(AttributeError, match="opne"):
        _ = strata.opne


def test_a_terminal_without_the_letters_shows_them_escaped(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", "from strata import main; main()", "datasets", "show", "ase_elements"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert r"\xc5\xb3" in done.stdout or r"\xc5" in done.stdout


@pytest.mark.parametrize(("to", "code"), [("/dev/full", 2), ("&-", 0)])
def test_standard_output_that_is_full_or_closed(tmp_path, to, code):
    command = f"exec {sys.executable} -c 'from strata import main; main()' zoo list >{to}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("No space left" in done.stderr) == (code == 2)
