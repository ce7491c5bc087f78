"""A pool made of the docstrings of installed packages: what a function does, and its signature with the rest.

python -m benchmarks.default_model.apidocs POOLS/apidocs
"""

from __future__ import annotations

import argparse
import ast
import gzip
import inspect
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Packages under BSD, MIT, PSF or Apache licences; not the standard library, which the model is measured on.
PACKAGES = (
    "aiohttp", "anyio", "attr", "click", "cryptography", "dateutil", "fsspec", "httpx", "jinja2", "matplotlib",
    "more_itertools", "networkx", "nltk", "numpy", "onnx", "pandas", "psutil", "pyarrow", "pydantic", "pygments",
    "requests", "rich", "scipy", "sklearn", "sqlalchemy", "starlette", "sympy", "torch", "tornado", "traitlets",
    "urllib3", "websockets", "yaml",
)  # fmt: skip
MOST_A_PACKAGE = 900
_OPENINGS = ("", "", "", "", "how to ", "python ", "function to ", "i want to ", "a way to ")
_THIRD_PERSON = re.compile(r"^([A-Z][a-z]+[^s])s\b")


def documented(root: Path, package: str) -> Iterator[tuple[str, str, str]]:
    """Yield (what is read as the head, the first sentence, the rest) of every documented public object."""
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if any((part.startswith("_") and part != "__init__") or part in {"tests", "testing"} for part in parts):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        yield from _objects(tree, module)


def _objects(node: ast.AST, prefix: str) -> Iterator[tuple[str, str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or child.name.startswith("_"):
            continue
        name = f"{prefix}.{child.name}"
        if isinstance(child, ast.ClassDef):
            yield from _objects(child, name)
            head = f"class {name}"
        else:
            head = f"{name}({ast.unparse(child.args)})"
        text = inspect.cleandoc(ast.get_docstring(child) or "")
        first, _, rest = text.partition("\n\n")
        first = " ".join(first.split())
        if 20 < len(first) < 200 and len(head) < 300 and "deprecated" not in text[:200].lower():
            yield head, first, rest.strip()


def pairs(root: Path, seed: int) -> Iterator[dict[str, str]]:
    """Yield the pool: half of the passages keep their first sentence, half must be found by the rest."""
    draw = random.Random(seed)
    for package in PACKAGES:
        found = list(dict.fromkeys(documented(root, package)))
        draw.shuffle(found)
        for head, first, rest in found[:MOST_A_PACKAGE]:
            query = first.rstrip(".")
            opening = draw.choice(_OPENINGS)
            if opening:
                query = opening + _THIRD_PERSON.sub(lambda match: match[1], query)[:1].lower() + query[1:]
            whole = len(rest) < 120 or draw.random() < 0.4
            body = f"{first}\n\n{rest}".strip() if whole else rest
            yield {"query": query, "positive": f"{head}\n\n{body[:900]}", "source": package}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=20261125)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = list(pairs(Path(sysconfig.get_paths()["purelib"]), options.seed))
    with gzip.open(options.folder / "pairs.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    print(f"{len(rows)} pairs")


if __name__ == "__main__":
    main()
