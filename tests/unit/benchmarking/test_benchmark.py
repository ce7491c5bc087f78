import json

import numpy as np
import pytest

from searchkit.benchmarking import BenchReport, Load, NotRunError, Plan, run_benchmark, step_count
from searchkit.errors import ConfigError
from tests.unit.benchmarking.stubs import Stub

PLAN = Plan((Load(6, 2), Load(4, callers=3)), rounds=3, fidelity_queries=2, finds_batch_size=False)


class Missing(Stub):
    def load(self):
        raise NotRunError("missing is not installed: pip install missing")


class Unloadable(Stub):
    def load(self):
        raise ValueError("the file is broken")


def test_the_report_holds_every_number_of_those_that_ran(tiny, source):
    ours, peer = Stub("ours", is_ours=True, seconds=0.002), Stub("peer", seconds=0.02)
    report = run_benchmark([ours, peer], tiny, PLAN, source=source)
    assert [(row.workload, row.contestant) for row in report.speeds] == [
        ("6 candidates", "ours"),
        ("6 candidates", "peer"),
        ("3 callers x 4 candidates", "ours"),
        ("3 callers x 4 candidates", "peer"),
    ]
    assert [(row.name, row.queries, row.candidates, row.callers) for row in report.workloads] == [
        ("6 candidates", 2, 6, 1),
        ("3 callers x 4 candidates", 3, 4, 3),
    ]
    first = report.ratios[0]
    assert (first.contestant, first.against, first.rounds) == ("ours", "peer", 3)
    assert first.wall.low > 2
    assert report.speeds[0].p50_ms >= 2
    assert report.speeds[0].peak_share is not None
    assert report.peak_gflops is not None
    assert report.machine.threads == 1
    assert report.machine.libraries["torch"]


def test_the_report_survives_json(tiny, source):
    report = run_benchmark([Stub("ours", is_ours=True)], tiny, PLAN, source=source)
    assert BenchReport.model_validate_json(report.model_dump_json()) == report
    assert json.loads(report.model_dump_json())["contestants"][0]["name"] == "ours"


def test_who_cannot_run_is_named_and_nothing_is_claimed_of_it(tiny, source):
    contestants = [Stub("ours", is_ours=True), Missing("absent"), Unloadable("damaged")]
    report = run_benchmark(contestants, tiny, PLAN, source=source)
    assert [(entry.name, entry.status, entry.reason) for entry in report.contestants] == [
        ("ours", "run", None),
        ("absent", "not run", "missing is not installed: pip install missing"),
        ("damaged", "failed", "ValueError: the file is broken"),
    ]
    assert {row.contestant for row in report.speeds} == {"ours"}
    assert report.ratios == ()
    assert report.fidelities == ()


def test_a_contestant_that_fails_at_one_workload_keeps_its_numbers_of_the_others(tiny, source):
    peer = Stub("peer", fails_on=lambda pairs: len(pairs) == 4)
    report = run_benchmark([Stub("ours", is_ours=True), peer], tiny, PLAN, source=source)
    assert [failure.workload for failure in report.failures] == ["3 callers x 4 candidates"]
    assert [row.workload for row in report.speeds if row.contestant == "peer"] == ["6 candidates"]
    assert [row.workload for row in report.ratios] == ["6 candidates"]


def test_logits_are_compared_with_the_first_that_is_not_ours(tiny, source):
    ours = Stub("ours", is_ours=True, noise=0.25)
    report = run_benchmark([ours, Stub("peer"), Stub("other")], tiny, PLAN, source=source)
    assert [(row.contestant, row.reference) for row in report.fidelities] == [("ours", "peer"), ("other", "peer")]
    assert report.fidelities[0].max_logit_difference == pytest.approx(0.25 * 99)
    assert report.fidelities[0].pairs == 200
    assert report.fidelities[1].spearman_min == 1.0


def test_a_reference_that_is_no_contestant_gives_its_logits_and_no_times(tiny, source):
    reference = Stub("exact")
    report = run_benchmark([Stub("ours", is_ours=True)], tiny, PLAN, reference=reference, source=source)
    assert [(row.contestant, row.reference) for row in report.fidelities] == [("ours", "exact")]
    assert {row.contestant for row in report.speeds} == {"ours"}
    assert reference.log.count("exact") == PLAN.fidelity_queries


def test_without_a_reference_logits_are_not_compared_and_the_report_says_so(tiny, source):
    report = run_benchmark([Stub("ours", is_ours=True)], tiny, PLAN, reference=Missing("exact"), source=source)
    assert report.fidelities == ()
    assert any(note.startswith("logits were not compared: exact did not run") for note in report.notes)


def test_scores_that_are_no_numbers_drop_a_contestant(tiny, source):
    class Nan(Stub):
        def score(self, pairs):
            return np.full(len(pairs), np.nan, dtype=np.float32)

    report = run_benchmark([Stub("ours", is_ours=True), Nan("peer")], tiny, PLAN, source=source)
    assert report.contestants[1].status == "failed"


def test_every_step_is_reported(tiny, source):
    steps = []
    contestants = [Stub("ours", is_ours=True), Stub("peer")]
    run_benchmark(contestants, tiny, PLAN, source=source, on_progress=steps.append)
    assert sum(steps) == step_count(PLAN, 2) == 14


def test_few_rounds_are_called_too_few(tiny, source):
    short = Plan((Load(2),), rounds=2, fidelity_queries=1, finds_batch_size=False)
    report = run_benchmark([Stub("ours", is_ours=True)], tiny, short, source=source)
    assert any("too few for a claim" in note for note in report.notes)


def test_a_batch_size_is_chosen_before_the_clock_starts(tiny, source):
    class Batched(Stub):
        batch_size = 4
        batch_sizes = (4, 8)

        def score(self, pairs):
            self.seen = [*getattr(self, "seen", []), self.batch_size]
            self.seconds = 0.03 if self.batch_size == 4 else 0.0
            return super().score(pairs)

    peer = Batched("peer")
    plan = Plan((Load(3),), rounds=2, fidelity_queries=1, finds_batch_size=True)
    run_benchmark([peer], tiny, plan, source=source)
    assert peer.seen == [4, 4, 8, 8, 8, 8]  # warm-up, both sizes, logits, two rounds


@pytest.mark.parametrize("names", [[], ["same", "same"]])
def test_names_tell_contestants_apart(tiny, source, names):
    with pytest.raises(ConfigError, match="different names"):
        run_benchmark([Stub(name) for name in names], tiny, PLAN, source=source)


def test_the_process_gets_its_cores_back(tiny, source):
    import torch

    from searchkit.models.onnx_session import usable_cores

    before = usable_cores(), torch.get_num_threads()
    run_benchmark([Stub("ours", is_ours=True)], tiny, PLAN, source=source)
    assert (usable_cores(), torch.get_num_threads()) == before


@pytest.mark.parametrize(("load", "threads", "warned"), [(0.3, 4, 0), (9.0, 1, 1), (9.0, 4, 2)])
def test_a_busy_machine_is_called_busy_and_several_threads_unfair(load, threads, warned):
    from searchkit.benchmarking.benchmark import _notes
    from searchkit.benchmarking.machine import describe

    machine = describe("cpu", threads, is_pinned=True, cores=4).model_copy(update={"load_before": load})
    notes = _notes(machine, Plan((), rounds=5, fidelity_queries=1, finds_batch_size=True))
    assert len(notes) == warned
    assert warned == 0 or "the machine was busy before the start (load 9.0 on 4 cores)" in notes[0]
    assert warned < 2 or "only --threads 1 is fair" in notes[1]
