"""The script for a GPU machine: silent about numbers without one, and complete when run, here on the CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "rerank_gpu.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        spec = importlib.util.spec_from_file_location("rerank_gpu", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        sys.modules["rerank_gpu"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(SCRIPT.parent))
        sys.modules.pop("rerank_gpu", None)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr("searchkit.benchmarking.stock._ROWS", 8)


@pytest.fixture
def few(script, monkeypatch):
    monkeypatch.setattr(script, "CANDIDATES", 12)


def test_without_cuda_it_measures_nothing_and_says_so(tmp_path):
    out = tmp_path / "out.json"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert result.returncode == 2
    assert "no CUDA device" in result.stderr
    assert "nothing was measured" in result.stderr
    assert result.stdout == ""
    assert not out.exists()


def test_it_writes_every_number_that_the_targets_ask_for(script, few, tiny, source, tmp_path, monkeypatch):
    pools = [(source.pairs(30), np.arange(30) % 3) for _ in range(2)]
    monkeypatch.setattr(script, "judged_pools", lambda *_: pools)
    out = tmp_path / "out.json"
    script.run(tiny, script.Sizes(calls=2, pairs=30, repeats=2), tmp_path, out, source)
    found = json.loads(out.read_text())
    assert found["not_run"] == {}
    assert found["failures"] == []
    assert [verdict["target"]["name"] for verdict in found["targets"]] == [
        "1 x 100, short query",
        "bulk, tokens in",
        "bulk, text in",
        "GPU only",
        "1 x 100, criteria query",
        "bulk, criteria query",
    ]
    assert all(verdict["ratio"]["low"] > 0 for verdict in found["targets"])
    assert set(found["workloads"]) == {f"{kind}, query of {tokens}" for kind in ("call", "bulk") for tokens in (10, 80)}
    bulk = found["workloads"]["bulk, query of 10"]
    assert {row["contestant"] for row in bulk["rows"]} == {
        "searchkit",
        "searchkit, tokens in",
        "sentence-transformers",
        "searchkit, engine alone",
        "stock, batches ready, graphed",
    }
    assert bulk["size"]["candidates"] == 30
    assert found["fidelity"]["passed"] is True
    assert found["fidelity"]["ndcg10_lost"] == pytest.approx(0, abs=1e-6)


def test_a_contestant_that_cannot_run_is_named_and_its_targets_are_left_out(
    script, tiny, source, tmp_path, monkeypatch
):
    def refuse(self):
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(script.StockGraphed, "load", refuse)
    monkeypatch.setattr(script.TokensIn, "score", refuse_to_score)
    found = script.run(tiny, script.Sizes(calls=1, pairs=20, repeats=1), tmp_path / "none", tmp_path / "o.json", source)
    assert found["not_run"] == {"stock, batches ready, graphed": "RuntimeError: no kernel for this"}
    assert {verdict["target"]["ours"] for verdict in found["targets"]} == {"searchkit"}
    failures = {(one["contestant"], one["workload"]) for one in found["failures"]}
    assert ("searchkit, tokens in", "call, query of 10") in failures
    assert ("searchkit", "fidelity") in failures
    assert found["fidelity"] is None


def refuse_to_score(self, pairs):
    raise ValueError("not these")


def test_ndcg_is_that_of_the_textbook(script):
    grades = np.array([3, 2, 3, 0, 1, 2])
    gained = 3 + 2 / np.log2(3) + 3 / 2 + 0 + 1 / np.log2(6) + 2 / np.log2(7)
    best = 3 + 3 / np.log2(3) + 2 / 2 + 2 / np.log2(5) + 1 / np.log2(6)
    assert script.ndcg(-np.arange(6.0), grades) == pytest.approx(gained / best)
    assert script.ndcg(grades.astype(float), grades) == pytest.approx(1.0)
    assert script.ndcg(np.arange(30.0), np.array([1] + [0] * 29)) == 0.0
