import pytest

from searchkit.benchmarking.gemm import Arithmetic, MatrixProduct, Peak, arithmetic_of
from searchkit.benchmarking.summary import ratios, speeds
from searchkit.benchmarking.timing import Sample, Timings
from searchkit.benchmarking.workloads import Load, Workload

TWO_CALLS = Workload(Load(2, queries=2), ((("q", "a"), ("q", "b")), (("r", "c"), ("r", "d"))), (10, 20, 30, 40))


def sample(name, number, wall, cpu, calls=None):
    return Sample("2 candidates", name, number, wall, cpu, calls or (wall / 2, wall / 2))


def test_each_round_gives_one_ratio_and_the_median_is_theirs():
    samples = [
        *(sample("ours", number, wall, cpu) for number, (wall, cpu) in enumerate([(1, 1), (2, 1), (10, 1)])),
        *(sample("peer", number, wall, cpu) for number, (wall, cpu) in enumerate([(3, 2), (4, 4), (50, 3)])),
    ]
    (row,) = ratios(samples, ["ours"], ["peer"], is_cpu=True)
    assert (row.rounds, row.workload, row.contestant, row.against) == (3, "2 candidates", "ours", "peer")
    assert (row.wall.median, row.wall.low, row.wall.high) == (3, 2, 5)  # not the ratio of the medians, 2
    assert (row.cpu.median, row.cpu.low, row.cpu.high) == (3, 2, 4)


def test_there_is_no_ratio_to_what_did_not_run():
    assert ratios([sample("ours", 0, 1, 1)], ["ours"], ["peer"], is_cpu=True) == ()


def test_cpu_time_says_nothing_of_an_accelerator():
    (row,) = ratios([sample("ours", 0, 1, 1), sample("peer", 0, 2, 1)], ["ours"], ["peer"], is_cpu=False)
    assert row.cpu is None
    assert row.wall.median == 2


def test_a_row_holds_quantiles_of_calls_and_medians_of_rounds():
    samples = (
        sample("ours", 0, 2.0, 1.0, (0.5, 1.5)),
        sample("ours", 1, 4.0, 2.0, (1.0, 3.0)),
        sample("ours", 2, 1.0, 0.5, (0.5, 0.5)),
    )
    arithmetic = Arithmetic(hidden=2, inner=4, layers=1)
    flops = arithmetic.flops(TWO_CALLS.lengths)
    timings = Timings(samples, (), tuple(Peak(per_wall_s=flops, per_cpu_s=2 * flops) for _ in range(3)))
    (row,) = speeds(timings, [TWO_CALLS], arithmetic=arithmetic, is_cpu=True)
    assert row.calls == 6
    assert row.p50_ms == pytest.approx(750)
    assert row.p99_ms == pytest.approx(2925)
    assert row.pairs_per_s == 2.0  # 4 pairs in the median round of 2 s
    assert row.tokens_per_s == 50.0
    assert row.pairs_per_cpu_s == 4.0
    assert row.cpu_ms_per_call == 500.0
    assert row.peak_share == pytest.approx(0.5)
    (on_gpu,) = speeds(timings, [TWO_CALLS], arithmetic=arithmetic, is_cpu=False)
    assert on_gpu.peak_share == pytest.approx(0.5)  # by wall-clock time: flops / 2 s / flops


def test_a_share_is_taken_against_the_peak_of_its_own_round():
    arithmetic = Arithmetic(hidden=2, inner=4, layers=1)
    flops = arithmetic.flops(TWO_CALLS.lengths)
    samples = (sample("ours", 0, 9, 1.0), sample("ours", 1, 9, 2.0), sample("ours", 2, 9, 4.0))
    timings = Timings(samples, (), tuple(Peak(flops, flops / slower) for slower in (1, 2, 4)))
    (row,) = speeds(timings, [TWO_CALLS], arithmetic=arithmetic, is_cpu=True)
    assert row.peak_share == pytest.approx(1.0)


def test_the_arithmetic_of_a_minilm_is_that_of_the_notes():
    mini = Arithmetic(hidden=384, inner=1536, layers=6)
    assert mini.flops([113]) / 1e9 == pytest.approx(2.52, abs=0.01)
    assert mini.flops([512]) / 1e9 == pytest.approx(13.3, abs=0.05)


@pytest.mark.parametrize("architecture", ["bert", "electra", "distilbert", "xlm-roberta"])
def test_sizes_are_read_from_the_config(cross_encoder_folder, architecture):
    found = arithmetic_of(cross_encoder_folder(architecture))
    assert found == Arithmetic(hidden=32, inner=64, layers=2)


def test_unknown_layers_have_no_known_arithmetic(cross_encoder_folder):
    assert arithmetic_of(cross_encoder_folder("modernbert")) is None


def test_measuring_the_peak_leaves_the_threads_as_they_were():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        peak = MatrixProduct("cpu", seconds=0.01).measure()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert peak.per_cpu_s > 1e9
    assert peak.per_wall_s > 0
