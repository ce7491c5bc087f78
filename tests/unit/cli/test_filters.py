import pytest
import typer

from searchkit.cli.search import parse_filters


@pytest.mark.parametrize(
    ("texts", "condition"),
    [
        ([], {}),
        (["lang=en"], {"lang": "en"}),
        (["year=2020", "open=true", "price=1.5"], {"year": 2020, "open": True, "price": 1.5}),
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


@pytest.mark.parametrize("texts", [["lang"], ["=en"], ["{lang"], ["a=1", "a=2"]])
def test_what_is_no_condition_is_wrong_usage(texts):
    with pytest.raises(typer.BadParameter, match="--filter"):
        parse_filters(texts)
