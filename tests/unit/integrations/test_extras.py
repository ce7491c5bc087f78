from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = [("langchain", "langchain_core"), ("llamaindex", "llama_index")]


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("name", "package"), FRAMEWORKS)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(name: str, package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from searchkit.errors import MissingExtraError
try:
    import searchkit.integrations.{name}
except MissingExtraError as error:
    print(error)
"""
    assert _run(code).endswith(f"pip install 'searchkit[{name}]'")


@pytest.mark.parametrize(("name", "package"), FRAMEWORKS)
def test_an_adapter_needs_the_core_of_its_framework_alone(name: str, package: str) -> None:
    others = ["langchain", "langchain_classic", "langchain_community", "langchain_qdrant"]
    others += ["llama_index.core"] if name == "langchain" else ["langchain_core"]
    code = f"""
import sys
for other in {others!r}:
    sys.modules[other] = None
import searchkit.integrations.{name}
print("fine")
"""
    assert _run(code) == "fine"


def test_importing_searchkit_imports_no_framework() -> None:
    code = """
import sys, searchkit, searchkit.kit, searchkit.integrations
print([name for name in sys.modules if name.startswith(("langchain", "llama_index", "torch", "transformers"))])
"""
    assert _run(code) == "[]"


@pytest.mark.parametrize(("name", "package"), FRAMEWORKS)
def test_importing_an_adapter_loads_no_model_library(name: str, package: str) -> None:
    code = f"""
import sys, searchkit.integrations.{name}
print([name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules])
"""
    assert _run(code) == "[]"
