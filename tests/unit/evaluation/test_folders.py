import gzip
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from searchkit.errors import ConfigError
from searchkit.evaluation import JudgedQueries, JudgedQuery, has_corpus, join_judgments, read_corpus, read_judged

DEV = Path(__file__).parents[4] / "shared" / "data" / "dev"


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def beir(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\t1\n2\td2\t2\n")
    with gzip.open(tmp_path / "queries.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(
            lines({"_id": 1, "text": "one"}, {"_id": "2", "text": "two", "instruction": "A relevant one is red."})
        )
        file.write(lines({"_id": "train-only", "text": "three"}))
    (tmp_path / "corpus.jsonl").write_text(
        lines({"_id": "d1", "title": "T", "text": "body"}, {"_id": "d2", "text": "x"}, {"_id": "d3", "text": " "})
    )
    return tmp_path


def test_a_beir_folder_is_read_with_instructions_as_criteria(beir):
    judged = read_judged(beir)
    assert [(query.id, query.text, query.criteria) for query in judged.queries] == [
        ("1", "one", None),
        ("2", "two", "A relevant one is red."),
    ]
    assert judged.qrels == {"1": {"d1": 1}, "2": {"d2": 2}}


def test_a_corpus_joins_title_and_text_and_leaves_out_empty_passages(beir):
    passages = list(read_corpus(beir))
    assert has_corpus(beir)
    assert [(p.id, p.text, p.metadata) for p in passages] == [("d1", "T\nbody", {"title": "T"}), ("d2", "x", {})]


def test_the_flat_layout_is_read_with_its_criteria(tmp_path):
    (tmp_path / "queries.jsonl").write_text(lines({"id": "s1", "query": "run a command", "criteria": "bytes"}))
    (tmp_path / "qrels.tsv").write_text("query_id\tpassage_id\trelevance\ns1\tsubprocess.run\t2\n")
    judged = read_judged(tmp_path)
    assert judged.name == tmp_path.name
    assert judged.queries[0].criteria == "bytes"
    assert judged.qrels == {"s1": {"subprocess.run": 2}}
    assert not has_corpus(tmp_path)


def test_what_is_trained_on_is_no_test_split_by_default(beir):
    assert read_judged(beir, preferred=["train"]).qrels == read_judged(beir).qrels  # the only file there is
    (beir / "qrels" / "dev.tsv").write_text("1\td9\t1\n")
    with pytest.raises(ConfigError, match="name the split"):
        read_judged(beir, preferred=["train"])
    (beir / "qrels" / "train.tsv").write_text("1\td8\t1\n")
    assert read_judged(beir, preferred=["train"]).qrels == {"1": {"d8": 1}}


def test_test_comes_before_dev_and_a_split_can_be_named(beir):
    (beir / "qrels" / "dev.tsv").write_text("1\td9\t1\n")
    assert read_judged(beir).qrels["1"] == {"d1": 1}
    assert read_judged(beir, split="dev").qrels == {"1": {"d9": 1}}
    with pytest.raises(ConfigError, match=r"no train\.tsv: it holds dev, test"):
        read_judged(beir, split="train")


def test_several_files_of_unknown_names_need_a_choice(beir):
    (beir / "qrels" / "test.tsv").rename(beir / "qrels" / "a.tsv")
    assert len(read_judged(beir)) == 2
    (beir / "qrels" / "b.tsv").write_text("1\td9\t1\n")
    with pytest.raises(ConfigError, match="name the split"):
        read_judged(beir)


@pytest.mark.parametrize(
    ("queries", "complaint"),
    [
        ('{"_id": "1", "text": "one"\n', "queries.jsonl:1 is no JSON"),
        ("[1]\n", "queries.jsonl:1 holds a list"),
        ('{"_id": "1"}\n', "queries.jsonl:1 has no query"),
        ('{"_id": "1", "text": "  "}\n', "queries.jsonl:1 has no query"),
        ('{"_id": "1", "text": 5}\n', "'text' is a int"),
        ('{"_id": "1", "text": "\\ud800"}\n', "queries.jsonl:1: 'text' holds half of a character"),
        ("[" * 100_000 + "\n", "queries.jsonl:1 is no JSON"),
        ('{"text": "one"}\n', "queries.jsonl:1 has no id"),
        ('{"_id": true, "text": "one"}\n', "queries.jsonl:1 has no id"),
        ('{"_id": "1", "text": "one"}\n{"_id": "1", "text": "two"}\n', "unique"),
        ('{"_id": "9", "text": "one"}\n', "belong to other queries"),
        (
            '{"_id": "1", "text": "one"}\n{"_id": "3", "text": "x"}\n',
            "1 of 2 judged query ids have no query, such as '2'",
        ),
    ],
)
def test_bad_queries_are_refused_with_their_line(tmp_path, queries, complaint):
    (tmp_path / "queries.jsonl").write_text(queries)
    (tmp_path / "qrels.tsv").write_text("1\ta\t1\n2\tb\t1\n")
    with pytest.raises(ConfigError, match=complaint):
        read_judged(tmp_path)


def test_a_folder_without_queries_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no queries\.jsonl"):
        read_judged(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "one"}\n')
    with pytest.raises(ConfigError, match=r"holds no qrels\.tsv"):
        read_judged(tmp_path)


def test_a_sample_is_spread_over_the_queries_with_their_judgments(tmp_path):
    (tmp_path / "queries.jsonl").write_text(lines(*({"_id": str(n), "text": f"q{n}"} for n in range(10))))
    (tmp_path / "qrels.tsv").write_text("".join(f"{n}\ta\t1\n" for n in range(10)))
    judged = read_judged(tmp_path)
    assert [query.id for query in judged.sample(3).queries] == ["0", "3", "6"]
    assert set(judged.sample(3).qrels) == {"0", "3", "6"}
    assert judged.sample(10) is judged
    with pytest.raises(ConfigError, match="at least one"):
        judged.sample(0)


@pytest.mark.parametrize(
    ("ids", "judged_ids", "complaint"),
    [(["a", "a"], ["a"], "'a' occurs twice"), (["a", "b"], ["a"], "such as 'b'"), (["a"], ["a", "c"], "such as 'c'")],
)
def test_queries_and_judgments_that_do_not_belong_together_make_no_set(ids, judged_ids, complaint):
    queries = tuple(JudgedQuery(id=query_id, text="x") for query_id in ids)
    with pytest.raises(ValidationError, match=complaint):
        JudgedQueries(name="x", queries=queries, qrels={query_id: {"p": 1} for query_id in judged_ids})


def test_queries_without_any_judgment_are_refused():
    with pytest.raises(ConfigError, match="none of 1 queries has a judgment"):
        join_judgments("x", [JudgedQuery(id="a", text="x")], {"a": {}})


@pytest.mark.skipif(not DEV.is_dir(), reason="the development collections are not part of the repository")
@pytest.mark.parametrize(
    ("name", "query_count", "has_criteria"),
    [("cacm", 52, False), ("vaswani", 93, False), ("medquad_criteria", 651, True), ("nq_wiki", 1606, False)],
)
def test_the_development_collections_are_read_whole(name, query_count, has_criteria):
    judged = read_judged(DEV / name)
    assert len(judged) == query_count
    assert all(query.criteria for query in judged.queries) == has_criteria
    known = {passage.id for passage in read_corpus(DEV / name)}
    assert all(judgments.keys() <= known for judgments in judged.qrels.values())
