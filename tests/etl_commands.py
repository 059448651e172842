"""Commands of the `etl` room as a user types them."""

from typer.testing import CliRunner

from etl.cli import app


def run(*words):
    """Run one command; returns what it says, and raises what it raises."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def call(*words):
    """Run one command; of data of one's own that say no origin the values are measured."""
    if words[0] == "ingest" and "--name" in words and "--origin" not in words:
        words = (*words, "--origin", "measured")
    return run(*words)
