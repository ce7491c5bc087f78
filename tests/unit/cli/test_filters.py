import pytest
import typer

from searchkit.cli.search import parse_filters


@pytest.mark.parametrize(
    ("texts", "condition"),
    [
        ([], {}),
        (["lang=en"], {"lang": "en"}),
        (
            ["year=2020", "open=true", "price=1.50"],
            {"year": [2020, "2020"], "open": [True, "true"], "price": [1.5, "1.50"]},
        ),
        (
            ["isbn=97831614841009783161484100", f"x=1{'0' * 400}", "y=NaN"],
            {"isbn": "97831614841009783161484100", "x": f"1{'0' * 400}", "y": "NaN"},
        ),
        (['year="2020"'], {"year": "2020"}),
        (["formula=a=b"], {"formula": "a=b"}),
        (["empty="], {"empty": ""}),
        (["x=null", "y=[1]"], {"x": "null", "y": "[1]"}),
        (['{"year": {"gte": 2020}}', "lang=en"], {"year": {"gte": 2020}, "lang": "en"}),
    ],
)
def test_conditions_are_read_as_a_person_means_them(texts, condition):
    parsed = parse_filters(texts)
    assert parsed == condition
    assert [type(value) for value in parsed.values()] == [type(value) for value in condition.values()]


def test_a_declared_field_is_asked_for_the_type_that_its_index_holds():
    declared = {"year": "integer", "open": "bool", "code": "keyword", "price": "float"}
    texts = ["year=2020", "open=true", "code=2020", "price=1.5", "other=1"]
    parsed = parse_filters(texts, declared)
    assert parsed == {"year": 2020, "open": True, "code": "2020", "price": 1.5, "other": [1, "1"]}
    assert parsed["open"] is True


@pytest.mark.parametrize("texts", [["lang"], ["=en"], ["{lang"], ["a=1", "a=2"]])
def test_what_is_no_condition_is_wrong_usage(texts):
    with pytest.raises(typer.BadParameter, match="--filter"):
        parse_filters(texts)
