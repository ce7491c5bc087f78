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
        for name in ("rerank_gpu", "gpu_targets", "gpu_fidelity", "results"):
            sys.modules.pop(name, None)


@pytest.fixture
def bench(script, tiny, source, tmp_path, monkeypatch):
    pools = [(source.pairs(30), np.arange(30) % 3) for _ in range(2)]
    monkeypatch.setattr(script.gpu_fidelity, "judged_pools", lambda *_: pools)
    return script.Bench(tiny, script.DRY, tmp_path, tmp_path / "out.json", source)


def test_without_cuda_it_measures_nothing_and_says_so(tmp_path):
    out = tmp_path / "out.json"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert result.returncode == 2
    assert "no CUDA device" in result.stderr
    assert "nothing was measured" in result.stderr
    assert result.stdout == ""
    assert not out.exists()


def test_a_dry_run_does_every_part_and_claims_no_measurement(script, bench):
    bench.run(float("inf"))
    found = json.loads(bench.out.read_text())
    assert found["is_measurement"] is False
    assert (found["not_run"], found["failures"], found["skipped"]) == ({}, [], [])
    assert sorted(verdict["target"]["name"] for verdict in found["targets"]) == [
        "1 x 100, criteria query",
        "1 x 100, short query",
        "GPU only",
        "bulk, criteria query",
        "bulk, text in",
        "bulk, tokens in",
    ]
    assert all(verdict["ratio"]["low"] > 0 for verdict in found["targets"])
    names = [f"{kind}, query of {tokens}" for tokens in (10, 80) for kind in ("call", "bulk")]
    assert set(found["workloads"]) == {*names, "ablation, call, query of 10", "ablation, bulk, query of 10"}
    bulk = found["workloads"]["bulk, query of 10"]
    assert {row["contestant"] for row in bulk["rows"]} == {
        "searchkit",
        "searchkit, tokens in",
        "sentence-transformers",
        "searchkit, engine alone",
        "stock, batches ready, graphed",
    }
    setups = {row["contestant"]: row["setup"] for row in found["workloads"]["ablation, call, query of 10"]["rows"]}
    assert {name: setup.split(" {")[0] for name, setup in setups.items()} == {
        "padded": "torch fp32 cpu",
        "generic packed": "torch fp32 cpu packed",
        "bert-fast": "torch fp32 cpu bert-fast",
        "bert-fast, triton": "torch fp32 cpu bert-fast",
        "bert-fast, graphs": "torch fp32 cpu bert-fast",
        "bert-fast, graphs, triton": "torch fp32 cpu bert-fast",
        "batch-invariant": "torch fp32 cpu bert-fast batch-invariant",
    }
    assert found["fidelity"]["passed"] is True
    assert found["fidelity"]["ndcg10_lost"] == pytest.approx(0, abs=1e-6)


def test_who_cannot_run_is_named_and_what_fails_does_not_stop_the_rest(script, tiny, source, tmp_path, monkeypatch):
    def refuse(self, *_):
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(script.StockGraphed, "load", refuse)
    monkeypatch.setattr(script.TokensIn, "score", refuse)
    monkeypatch.setattr(script, "ablations", refuse)
    bench = script.Bench(tiny, script.DRY, tmp_path / "none", tmp_path / "o.json", source)
    found = bench.run(float("inf"))
    assert found["not_run"] == {"stock, batches ready, graphed": "RuntimeError: no kernel for this"}
    assert {verdict["target"]["ours"] for verdict in found["targets"]} == {"searchkit"}
    failures = {(one["contestant"], one["workload"]) for one in found["failures"]}
    assert ("searchkit, tokens in", "call, query of 10") in failures
    assert {("searchkit", "fidelity"), ("searchkit", "ablations")} <= failures
    assert found["fidelity"] is None


def test_parts_that_would_not_end_in_time_are_skipped_and_named(script, bench, monkeypatch):
    done = []
    for part in ("calls", "bulk", "fidelity", "ablations"):
        monkeypatch.setattr(bench, part, lambda *_, part=part: done.append(part))
    found = bench.run(minutes=1.1)
    assert done == ["calls", "fidelity", "ablations", "calls"]
    assert found["skipped"] == ["bulk, query of 10", "bulk, query of 80"]
    assert json.loads(bench.out.read_text())["skipped"] == found["skipped"]


def test_at_full_size_every_part_fits_into_eight_minutes(script):
    load_s = 60
    assert sum(script.SECONDS.values()) + load_s <= 8 * 60


@pytest.mark.slow
def test_the_command_runs_dry(cross_encoder_folder, tmp_path):
    out = tmp_path / "dry.json"
    command = [sys.executable, str(SCRIPT), "--dry-run", "--model", str(cross_encoder_folder()), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no measurement" in result.stderr
    found = json.loads(out.read_text())
    assert found["is_measurement"] is False
    assert found["fidelity"]["queries"] == 2


def test_ndcg_is_that_of_the_textbook(script):
    ndcg = script.gpu_fidelity.ndcg
    grades = np.array([3, 2, 3, 0, 1, 2])
    gained = 3 + 2 / np.log2(3) + 3 / 2 + 0 + 1 / np.log2(6) + 2 / np.log2(7)
    best = 3 + 3 / np.log2(3) + 2 / 2 + 2 / np.log2(5) + 1 / np.log2(6)
    assert ndcg(-np.arange(6.0), grades) == pytest.approx(gained / best)
    assert ndcg(grades.astype(float), grades) == pytest.approx(1.0)
    assert ndcg(np.arange(30.0), np.array([1] + [0] * 29)) == 0.0
