"""A wrong setting is an error of ours that names it."""

from __future__ import annotations

import json
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from searchkit import SearchKitConfig
from searchkit.config import Blend, HnswConfig, RerankerProfile, RetryConfig, ServerConfig
from searchkit.errors import ConfigError, SearchkitError
from searchkit.training import MiningConfig


@pytest.mark.parametrize(
    ("kind", "given", "named", "why"),
    [
        (SearchKitConfig, {"timeout_s": 0}, ".timeout_s=0", "input should be greater than 0"),
        (SearchKitConfig, {"blend": "none"}, ".blend='none'", "input should be 'model' or 'off'"),
        (SearchKitConfig, {"read_only": "yes"}, ".read_only='yes'", "input should be a valid boolean"),
        (SearchKitConfig, {"hnsw": {"ef_search": 0}}, ".hnsw.ef_search=0", "input should be greater"),
        (SearchKitConfig, {"server": {"retry": {"base_s": -1}}}, ".server.retry.base_s=-1", "input should be greater"),
        (SearchKitConfig, {"filter_fields": {"b": "word"}}, ".filter_fields.b='word'", "input should be 'keyword', "),
        (HnswConfig, {"m": "many"}, ".m='many'", "input should be a valid integer"),
        (
            ServerConfig,
            {"prefer_grpc": True, "verify_tls": False},
            "={'prefer_grpc'",
            "gRPC always checks certificates",
        ),
        (SearchKitConfig, {"server": {"ca_file": "x", "verify_tls": False}}, ".server={", "ca_file means nothing"),
    ],
)
def test_a_value_that_cannot_work_is_named_with_its_path_and_what_would(kind, given, named, why):
    with pytest.raises(ConfigError) as caught:
        kind(**given)
    assert str(caught.value).startswith(kind.__name__ + named)
    assert f" cannot be used: {why}" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValidationError)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"time_out_s": 3}, "there is no setting SearchKitConfig.time_out_s: did you mean 'timeout_s'?"),
        ({"hnsw": {"efsearch": 3}}, "there is no setting SearchKitConfig.hnsw.efsearch: did you mean 'ef_search'?"),
        ({"server": {"retry": {"attempt": 3}}}, "SearchKitConfig.server.retry.attempt: did you mean 'attempts'?"),
        ({"adaptive_depth": {"frist": 3}}, "SearchKitConfig.adaptive_depth.frist: did you mean 'first'?"),
        ({"xyz": 3}, "there is no setting SearchKitConfig.xyz: there are adaptive_depth, blend, "),
    ],
)
def test_a_misspelled_setting_is_told_the_right_name(given, message):
    with pytest.raises(ConfigError) as caught:
        SearchKitConfig(**given)
    assert message in str(caught.value)


def test_the_value_of_a_setting_that_is_none_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        SearchKitConfig(api_key="canary")
    assert "canary" not in str(caught.value)


def test_further_mistakes_are_counted_and_long_values_cut():
    with pytest.raises(ConfigError) as caught:
        SearchKitConfig(blend="x" * 500, timeout_s=-1, read_only=None)
    assert "(and 2 more settings are wrong)" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "make",
    [
        lambda: SearchKitConfig.model_validate({"hnsw": {"m": -1}}),
        lambda: SearchKitConfig.model_validate_json(json.dumps({"hnsw": {"m": -1}})),
        lambda: SearchKitConfig(hnsw={"m": -1}),
    ],
    ids=["a dict", "JSON", "the constructor"],
)
def test_every_way_to_make_settings_raises_the_same(make):
    with pytest.raises(SearchkitError, match=r"^SearchKitConfig\.hnsw\.m=-1 cannot be used: .*or equal to 0$"):
        make()


def test_settings_are_validated_copied_and_pickled_as_before():
    made = SearchKitConfig(hnsw={"m": 8}, server=ServerConfig(retry=RetryConfig(attempts=2)))
    assert made.hnsw == HnswConfig(m=8)
    assert SearchKitConfig.model_validate(made.model_dump()) == made
    assert SearchKitConfig.model_validate_json(made.model_dump_json()) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.model_copy(update={"timeout_s": 1.0}).timeout_s == 1.0
    with pytest.raises(ValidationError, match="frozen"):
        made.timeout_s = 2.0


def test_inside_a_model_of_the_callers_a_mistake_is_that_models():
    class Application(BaseModel):
        search: SearchKitConfig

    with pytest.raises(ValidationError) as caught:
        Application(search={"hnsw": {"m": -1}})
    assert caught.value.errors()[0]["loc"] == ("search", "hnsw", "m")


def test_what_belongs_to_a_model_and_to_a_training_run_is_checked_alike():
    with pytest.raises(ConfigError, match=r"^RerankerProfile\.criteria_template='\{query\}' cannot be used"):
        RerankerProfile(criteria_template="{query}")
    with pytest.raises(ConfigError, match=r"^Blend\.k=0 cannot be used"):
        Blend(logit_weight=1.0, k=0)
    with pytest.raises(ConfigError, match=r"MiningConfig\.seeds: did you mean 'seed'\?"):
        MiningConfig(seeds=1)
