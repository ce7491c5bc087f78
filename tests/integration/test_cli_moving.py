"""push, pull and reindex, from folder to server and back, with small deterministic models."""

from __future__ import annotations

import json

import pytest
from qdrant_client import QdrantClient, models
from typer.testing import CliRunner

from searchkit import SearchKit, SearchKitConfig
from searchkit.cli.app import create_app
from searchkit.config import HnswConfig, ServerConfig, StorageConfig, WindowConfig
from searchkit.encoding import SentenceEncoder
from searchkit.errors import CollectionError
from searchkit.moving import Location, open_as_made, settings_as_kept, stored_manifest
from searchkit.testing import FakeEncoder, FakeReranker
from tests.wire.server import WireServer

LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def url():
    with WireServer() as server:
        yield server.url


def open_kit(place):
    """Open with fake models, and the windows that the collection has."""
    path = ".searchkit" if place.url is None and place.path is None else place.path
    manifest = stored_manifest(Location(place.collection, path=path, url=place.url), SearchKitConfig())
    config = SearchKitConfig()
    if manifest is not None:
        config = SearchKitConfig(
            windows=WindowConfig(max_tokens=manifest.window_tokens), vector_name=manifest.dense_vector
        )
    return SearchKit(
        place.collection,
        path=path,
        url=place.url,
        encoder=FakeEncoder(),
        reranker=FakeReranker(),
        config=config,
    )


def run(*arguments):
    return CliRunner().invoke(create_app(open_kit), list(arguments))


@pytest.fixture
def handbook():
    kit = SearchKit("handbook", path=".searchkit", encoder=FakeEncoder(), reranker=FakeReranker())
    with kit:
        kit.add([{"id": str(n), "text": f"passage {n} {LONG}"} for n in range(20)])


def test_there_and_back_again(handbook, url):
    result = run("push", "handbook", "--url", url, "--filter-field", "tenant=tenant", "--json")
    assert result.exit_code == 0, result.stderr
    pushed = json.loads(result.stdout)
    assert (pushed["passages"], pushed["copied"], pushed["kept"]) == (20, 20, 0)
    again = run("push", "handbook", "--url", url)
    assert again.stdout.startswith("20 passages in 20 points: 0 copied, 20 were there; equal")
    result = run("pull", "handbook", "--url", url, "--as", "back", "--json")
    assert json.loads(result.stdout)["checksum"] == pushed["checksum"]
    found = run("search", "passage 7", "-c", "back", "--json")
    assert json.loads(found.stdout)["hits"][0]["id"] == "7"


def test_reindex_switches_keeps_and_drops(handbook):
    waiting = run("reindex", "handbook", "--window-tokens", "20", "--overlap-tokens", "4", "--no-switch")
    assert waiting.exit_code == 0, waiting.stderr
    assert waiting.stdout.startswith("handbook-2 holds 20 passages, 20 encoded")
    assert "handbook is unchanged" in waiting.stderr
    result = run("reindex", "handbook", "--window-tokens", "20", "--overlap-tokens", "4", "--json")
    report = json.loads(result.stdout)
    assert (report["built"], report["encoded"], report["is_switched"]) == ("handbook-2", 0, True)
    assert stored_manifest(Location("handbook", path=".searchkit"), SearchKitConfig()).window_tokens == 20


def test_reindex_keeps_vector_names_filter_indexes_and_storage(url):
    storage = StorageConfig(replication_factor=2, quantization="scalar", vectors_on_disk=True)
    made = SearchKitConfig(
        vector_name="v",
        filter_fields={"year": "integer", "who": "tenant", "open": "bool", '"a.b"': "keyword"},
        server=ServerConfig(storage=storage),
        hnsw=HnswConfig(m=20),
    )
    place = {"url": url, "encoder": FakeEncoder(), "reranker": FakeReranker()}
    with SearchKit("kept", **place, config=made) as kit:
        kit.add([{"id": "a", "text": "wages are paid", "year": 2020}])
    client = QdrantClient(url=url, check_compatibility=False)
    client.create_payload_index("kept", "metadata.place", models.PayloadSchemaType.GEO)
    before = client.get_collection("kept")
    result = run("reindex", "kept", "--url", url, "--window-tokens", "64")
    assert result.exit_code == 0, result.stderr
    assert "the new collection is made without the geo index of 'metadata.place'" in " ".join(result.stderr.split())
    after = client.get_collection("kept-2")
    assert after.config.params == before.config.params
    assert after.payload_schema == {
        path: index for path, index in before.payload_schema.items() if path != "metadata.place"
    }
    client.close()
    with SearchKit("kept", **place, config=made.model_copy(update={"windows": WindowConfig(max_tokens=64)})) as kit:
        assert kit.count(filter={"year": 2020}) == 1


def test_reindex_keeps_the_filter_indexes_of_a_folder():
    made = SearchKitConfig(vector_name="v", filter_fields={"year": "integer", "who": "tenant", "open": "bool"})
    place = {"path": ".searchkit", "encoder": FakeEncoder(), "reranker": FakeReranker()}
    with SearchKit("kept", **place, config=made) as kit:
        kit.add([{"id": "a", "text": "wages are paid", "year": 2020}])
    assert run("reindex", "kept", "--window-tokens", "64").exit_code == 0
    with SearchKit(
        "kept", **place, config=SearchKitConfig(vector_name="v", windows=WindowConfig(max_tokens=64))
    ) as kit:
        kept = settings_as_kept(kit)
    assert (kept.config.filter_fields, kept.left_out) == (made.filter_fields, ())


def test_drop_previous_says_what_it_deleted(handbook):
    refused = run("reindex", "handbook", "--window-tokens", "40", "--overlap-tokens", "32")
    assert "more than half of a window" in refused.stderr
    assert run("reindex", "handbook", "--drop-previous").stdout.startswith("deleted: nothing")
    assert run("reindex", "handbook", "--window-tokens", "80").exit_code == 0
    assert run("reindex", "handbook", "--drop-previous").stdout == "deleted: handbook\n"
    assert json.loads(run("reindex", "handbook", "--drop-previous", "--json").stdout)["dropped"] == []


def test_wrong_usage_says_what_is_right(handbook):
    assert "--url http://localhost:6333" in run("push", "handbook").stderr
    assert "NAME=KIND" in run("push", "handbook", "--url", "http://x", "--filter-field", "tenant").stderr
    assert "nothing would change" in run("reindex", "handbook").stderr
    assert "does not exist yet" in run("reindex", "nothing-here").stderr
    missing = run("push", "nothing-here", "--url", "http://127.0.0.1:9")
    assert missing.exit_code == 1
    assert "does not exist" in missing.stderr


@pytest.mark.parametrize("command", ["push", "pull", "reindex"])
def test_help_shows_an_example(command):
    assert f"searchkit {command} handbook" in " ".join(run(command, "--help").stdout.split())


def test_a_collection_opens_with_the_encoder_and_the_windows_it_was_made_with(tmp_path):
    config = SearchKitConfig(windows=WindowConfig(max_tokens=20, overlap_tokens=4))
    with SearchKit("made", path=tmp_path, encoder=SentenceEncoder(), reranker=FakeReranker(), config=config) as kit:
        kit.add(["how many people live in berlin"])
    with open_as_made(Location("made", path=tmp_path)) as kit:
        assert kit.count() == 1
    with open_as_made(Location("new", path=tmp_path)) as kit:
        assert kit.name == "new"


def test_a_collection_made_with_a_folders_encoder_opens_when_the_folder_is_told(tmp_path, bi_encoder_folder):
    folder = bi_encoder_folder()
    config = SearchKitConfig(windows=WindowConfig(overlap_tokens=4))
    with SearchKit(
        "made", path=".searchkit", encoder=SentenceEncoder(folder), reranker=FakeReranker(), config=config
    ) as kit:
        kit.add(["how many people live in berlin"])
    (tmp_path / "one.txt").write_text("the people live in the word")
    app = create_app()
    told = ("--encoder-folder", str(folder))

    def call(*arguments, **options):
        return CliRunner(**options).invoke(app, [*arguments])

    assert call("index", "one.txt", "-c", "made", *told).exit_code == 0
    lost = call("search", "berlin", "-c", "made")
    assert (lost.exit_code, lost.stdout, lost.stderr.count("\n")) == (1, "", 1)
    assert "'made' was made with the encoder 'model', and no model of that name can be opened here" in lost.stderr
    assert "--encoder-folder" in lost.stderr
    for found in (
        call("search", "berlin", "-c", "made", "--no-rerank", *told),
        call("search", "berlin", "-c", "made", "--no-rerank", env={"SEARCHKIT_ENCODER_FOLDER": str(folder)}),
    ):
        assert found.exit_code == 0, found.stderr
        assert "one.txt" in found.stdout
    other = call("search", "berlin", "-c", "made", "--encoder-folder", str(bi_encoder_folder(dense=16)))
    assert (other.exit_code, other.stdout) == (1, "")
    assert "was made with encoder dimension 32" in other.stderr
    absent = call("search", "berlin", "-c", "made", "--encoder-folder", "nowhere")
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert "nowhere" in absent.stderr


def test_an_encoder_that_has_no_name_to_find_it_by_is_an_error(handbook):
    with pytest.raises(CollectionError, match="of the kind 'fake'"):
        open_as_made(Location("handbook", path=".searchkit"))
