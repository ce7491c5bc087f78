"""The command line as a process of its own: what is imported, and what a shell sees."""

from __future__ import annotations

import subprocess
import sys

import pytest

from searchkit.cli import main


def run(*command, **environment):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=False)


def test_help_loads_no_model_library():
    code = (
        "import sys\nfrom searchkit.cli import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'qdrant_client', 'fastembed', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = run("-c", code)
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_the_package_runs_as_a_module_and_returns_the_exit_code():
    result = run("-m", "searchkit", "nonsense")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("searchkit: No such command 'nonsense'")
    assert run("-m", "searchkit", "--version").returncode == 0


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_one_line_and_wrong_usage(missing):
    code = f"import sys\nsys.modules[{missing!r}] = None\nfrom searchkit.cli import main\nsys.exit(main(['--help']))"
    result = run("-c", code)
    assert result.returncode == 2
    assert result.stderr == "searchkit: the command line needs the extra 'cli': pip install 'searchkit[cli]'\n"


def test_main_returns_its_exit_code_to_a_caller(capsys, monkeypatch):
    assert main(["--version"]) == 0
    assert main(["nonsense"]) == 2
    monkeypatch.delitem(sys.modules, "searchkit.cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["--version"]) == 2
    assert "searchkit[cli]" in capsys.readouterr().err


def test_an_import_error_of_ours_is_not_mistaken_for_a_missing_extra():
    code = "import sys\nsys.modules['searchkit.cli.index'] = None\nfrom searchkit.cli import main\nmain(['--help'])"
    assert "ModuleNotFoundError" in run("-c", code).stderr
