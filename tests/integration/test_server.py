"""A kit and a server, over a real socket: keys, TLS, limits, strict mode, races, retries, and settings of a cluster."""

from __future__ import annotations

import datetime
import ipaddress
import json
import logging
import pickle
import threading
import time

import grpc
import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient, models
from starlette.responses import Response

from searchkit import SearchKit, SearchKitConfig
from searchkit.collection import open_collection
from searchkit.config import RetryConfig, ServerConfig
from searchkit.errors import (
    CircuitOpenError,
    CollectionError,
    ConfigError,
    PayloadError,
    RetrievalError,
    RetrievalTimeoutError,
)
from searchkit.stages import RetrievalRequest
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder
from tests.wire import store
from tests.wire.grpc_server import GrpcServer
from tests.wire.proxy import FaultyProxy
from tests.wire.server import WireServer

PASSAGES = [{"id": n, "text": f"text number {n}", "n": n, "lang": "en" if n % 2 else "de"} for n in range(10)]
SLACK_S = 1.0
"""What a loaded machine may add to a time that is promised."""
FAST = {"retry": {"base_s": 0.001, "cap_s": 0.002}}


@pytest.fixture
def server():
    with WireServer() as made:
        yield made


@pytest.fixture
def open_at():
    opened = []

    def make(at, /, name="things", *, api_key=None, encoder=None, **changes):
        opened.append(
            open_collection(
                name,
                url=at.url,
                api_key=api_key,
                encoder=encoder or FakeEncoder(64, max_tokens=34),
                sparse_encoder=FakeSparseEncoder(),
                config=SearchKitConfig.model_validate(
                    {"windows": {"overlap_tokens": 4}, "timeout_s": 5.0, "server": FAST} | changes
                ),
            )
        )
        return opened[-1]

    yield make
    for collection in opened:
        collection.close()


def planned(status, headers=None, content=b'{"status":{"error":"planned"},"time":0}'):
    return Response(content, status, headers=headers, media_type="application/json")


# Keys


def test_the_right_key_opens(open_at):
    with WireServer(api_key="canary-key") as server:
        collection = open_at(server, api_key="canary-key")
        collection.add(PASSAGES)
        assert collection.count() == 10


@pytest.mark.parametrize("key", [None, "another"])
def test_a_wrong_key_is_said_to_be_wrong_and_not_shown(open_at, key):
    with (
        WireServer(api_key="canary-key") as server,
        pytest.raises(CollectionError, match=r"refuses the API key.*check api_key") as caught,
    ):
        open_at(server, api_key=key)
    assert "another" not in str(caught.value)
    assert len(server.requests) == 1


def test_a_key_that_may_only_read_reads(open_at):
    with WireServer(api_key="writer", read_only_key="reader") as server:
        open_at(server, api_key="writer").add(PASSAGES)
        reader = open_at(server, api_key="reader")
        assert reader.count({"n": {"lt": 3}}) == 3
        with pytest.raises(CollectionError, match="write access is required"):
            reader.add(["more"])


def everything_in(value, depth=6, seen=None):
    """Yield what hangs on an object, as text."""
    seen = set() if seen is None else seen
    if depth == 0 or id(value) in seen or isinstance(value, SecretStr):
        return
    seen.add(id(value))
    yield repr(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for one in [*inner, *vars(value).values()] if hasattr(value, "__dict__") else inner:
        yield from everything_in(one, depth - 1, seen)


def test_no_object_of_a_client_shows_the_key():
    from searchkit.collection.backends.client_connection import connect

    client = connect("http://127.0.0.1:1", "canary-key", SearchKitConfig())
    found = [text for text in everything_in(client, depth=12) if "canary" in text]
    client.close()
    assert found == []


def test_a_key_over_plain_http_is_a_warning_in_the_log(caplog):
    from searchkit.collection.backends.client_connection import connect

    with caplog.at_level(logging.WARNING, logger="searchkit"):
        for url in ("http://127.0.0.1:1", "http://localhost:1", "https://example.org", "http://user:pw@example.org"):
            connect(url, "canary-key", SearchKitConfig()).close()
    assert [record.message for record in caplog.records] == [
        "the API key is sent unencrypted to http://example.org; use https"
    ]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wire")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    private = serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_with_our_own_authority(open_at, certificate):
    with WireServer(certificate=certificate, api_key="k") as server:
        collection = open_at(server, api_key="k", server=FAST | {"ca_file": str(certificate[0])})
        collection.add(PASSAGES)
        assert collection.count() == 10
        collection.close()  # before the server, which would wait for the connection's end


def test_tls_unchecked_if_asked(open_at, certificate):
    with WireServer(certificate=certificate) as server:
        collection = open_at(server, server=FAST | {"verify_tls": False})
        assert not collection.exists
        collection.close()


def test_a_certificate_that_is_not_trusted_is_an_error_at_once(open_at, certificate):
    with WireServer(certificate=certificate) as server:
        with pytest.raises(CollectionError, match=r"secure connection fails.*ca_file") as caught:
            open_at(server)
        assert "attempts" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    config = SearchKitConfig(server=ServerConfig(ca_file=str(path)))
    with pytest.raises(ConfigError, match=r"ca_file=.*ca\.pem.*PEM"):
        SearchKit("things", url="https://127.0.0.1:1", encoder=FakeEncoder(), reranker=FakeReranker(), config=config)


# Sizes


def test_a_smaller_limit_than_ours_is_found_by_halving(open_at):
    with WireServer(limit_bytes=2**15) as server:
        collection = open_at(server)
        collection.add([{"id": n, "text": f"text {n} " + "x" * 400} for n in range(100)])
        assert collection.count() == 100
        sizes = [
            size for method, path, size in server.requests if method == "PUT" and path.endswith("points?wait=true")
        ]
        assert max(sizes) > 2**15
        assert len([size for size in sizes if size <= 2**15]) >= 3


def test_the_passage_that_alone_is_too_large_is_named_and_the_others_are_written(open_at):
    with WireServer(limit_bytes=2**15) as server:
        collection = open_at(server)
        fat = {"id": "fat", "text": "short", "notes": "x" * 2**15}
        with pytest.raises(PayloadError, match="passage 'fat' is larger than the server accepts"):
            collection.add([*PASSAGES[:5], fat, *PASSAGES[5:]])
        assert collection.add(PASSAGES).unchanged + collection.count() >= 10


def test_every_write_waits_until_it_is_done(open_at, server):
    collection = open_at(server, filter_fields={"n": "integer"})
    collection.add(PASSAGES)
    collection.add([PASSAGES[0] | {"n": 99}])
    collection.delete([1])
    writes = [
        path for method, path, _ in server.requests if method == "PUT" or path.partition("?")[0].endswith("delete")
    ]
    assert len(writes) == 6
    assert [path for path in writes[1:] if not path.endswith("wait=true")] == []


def test_a_write_that_is_only_acknowledged_is_no_success(open_at, server):
    collection = open_at(server)
    collection.add(PASSAGES[:1])
    result = {"operation_id": 1, "status": "acknowledged"}
    server.planned = [("/points", planned(200, content=json.dumps({"result": result, "status": "ok"}).encode()))]
    server.planned.insert(0, ("/points", planned(200, content=b'{"result":[],"status":"ok","time":0}')))
    with pytest.raises(RetrievalTimeoutError, match=r"not carried it out.*'acknowledged'"):
        collection.add(PASSAGES[1:2])
    assert collection.add(PASSAGES).added == 9


# Strict mode


def test_strict_mode_works_with_declared_fields(open_at):
    with WireServer(is_strict=True) as server:
        fields = {"n": "integer", "lang": "keyword", "public": "bool", "day": "datetime"}
        collection = open_at(server, filter_fields=fields)
        collection.add([one | {"public": True, "day": "2024-01-01"} for one in PASSAGES])
        assert server.store.indexes("things") == {
            "window.index": "integer",
            "metadata.n": "integer",
            "metadata.lang": "keyword",
            "metadata.day": "datetime",
            "flags.public": "keyword",
        }
        first_write = next(i for i, (m, path, _) in enumerate(server.requests) if path.endswith("points?wait=true"))
        last_index = max(i for i, (_, path, _) in enumerate(server.requests) if "/index" in path)
        assert last_index < first_write
        assert collection.count() == 10
        for chosen in ({"n": 3}, {"n": {"lte": 0}}, {"lang": "en", "n": 1}):
            assert collection.count(chosen) == 1
        assert collection.count({"public": True}) == collection.count({"day": {"gte": "2023-01-01"}}) == 10
        assert collection.delete(filter={"lang": "en"}) == 5


def test_strict_mode_without_an_index_is_the_setting_to_make(open_at):
    with WireServer(is_strict=True) as server:
        collection = open_at(server)
        collection.add(PASSAGES)
        with pytest.raises(ConfigError, match=r"SearchKitConfig\(filter_fields=\{'lang': 'keyword'\}\)") as caught:
            collection.count({"lang": "en"})
        assert "client.create_payload_index('things', 'metadata.lang', \"keyword\")" in str(caught.value)
        with pytest.raises(ConfigError, match=r"filter_fields=\{'lang': 'keyword'\}"):
            collection.delete(filter={"lang": "en"})
        again = open_at(server, filter_fields={"lang": "keyword"})
        assert again.count({"lang": "en"}) == 5


def test_the_call_of_the_message_works(open_at):
    with WireServer(is_strict=True) as server:
        collection = open_at(server)
        collection.add(PASSAGES)
        client = QdrantClient(url=server.url, check_compatibility=False)
        with pytest.raises(ConfigError) as caught:
            collection.count({"lang": "en"})
        call = str(caught.value).rpartition("make the index yourself: ")[2]
        eval(call, {"client": client})  # it is our own message
        client.close()
        assert collection.count({"lang": "en"}) == 5


# Creation


def test_many_creators_agree_on_one_collection(open_at, server):
    collections = [open_at(server, "race") for _ in range(8)]
    barrier, errors = threading.Barrier(8), []

    def create(number):
        try:
            barrier.wait()
            collections[number].add([{"id": number, "text": f"text {number}"}])
        except Exception as error:  # noqa: BLE001  # a thread's error must reach the test
            errors.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert collections[0].count() == 8
    assert not any(method == "DELETE" for method, _, _ in server.requests)


def test_a_creator_with_another_model_loses_the_race_and_changes_nothing(open_at, server):
    first, second = open_at(server), open_at(server, encoder=FakeEncoder(64, max_tokens=34, name="other"))
    first.add(PASSAGES)
    with pytest.raises(CollectionError, match=r"made with the encoder 'fake .*opened with 'other "):
        second.add(PASSAGES)
    assert first.count() == 10
    assert not any(method == "DELETE" for method, _, _ in server.requests)


def test_a_creation_whose_answer_is_lost_is_recognized_as_ours(open_at, server):
    collection = open_at(server)
    server.planned = [("/things", planned(503))] * 2
    collection.add(PASSAGES)
    assert collection.count() == 10


def test_a_server_that_keeps_no_metadata_is_named(open_at, server, monkeypatch):
    create = store.Store.create

    def forgetful(kept, name, body):
        plain = json.loads(body)
        plain.pop("metadata")
        return create(kept, name, json.dumps(plain).encode())

    monkeypatch.setitem(store._ROUTES, "PUT ", forgetful)
    with pytest.raises(CollectionError, match=r"keeps no metadata of collections.*upgrade"):
        open_at(server).add(PASSAGES)


def test_settings_of_a_cluster_reach_the_server(open_at, server):
    storage = {
        "shard_number": 3,
        "replication_factor": 2,
        "write_consistency_factor": 2,
        "quantization": "scalar",
        "quantized_in_ram": False,
        "oversampling": 3.0,
        "vectors_on_disk": True,
        "payload_on_disk": True,
        "hnsw_on_disk": True,
    }
    collection = open_at(server, server=FAST | {"storage": storage}, hnsw={"m": 32, "ef_construct": 200})
    collection.add(PASSAGES)
    made = server.store.created["things"]
    assert (made.shard_number, made.replication_factor, made.write_consistency_factor) == (3, 2, 2)
    assert made.on_disk_payload is True
    dense = made.vectors["dense"]
    assert dense.on_disk is True
    assert (dense.hnsw_config.m, dense.hnsw_config.ef_construct, dense.hnsw_config.on_disk) == (32, 200, True)
    assert dense.quantization_config.scalar.type == models.ScalarType.INT8
    assert dense.quantization_config.scalar.always_ram is False


def test_binary_quantization_reaches_the_server(open_at, server):
    open_at(server, server=FAST | {"storage": {"quantization": "binary"}}).add(PASSAGES)
    dense = server.store.created["things"].vectors["dense"]
    assert dense.quantization_config.binary.always_ram is True


def test_without_settings_nothing_is_said(open_at, server):
    open_at(server).add(PASSAGES)
    made = server.store.created["things"].model_dump(exclude_none=True)
    assert set(made) == {"vectors", "sparse_vectors", "metadata"}
    assert set(made["vectors"]["dense"]) <= {"size", "distance", "hnsw_config"}


# Retries over the wire


@pytest.mark.parametrize(
    "answer",
    [
        lambda: planned(429, {"Retry-After": "0"}),
        lambda: planned(429, {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
        lambda: planned(429),
        lambda: planned(408),
        lambda: planned(500),
        lambda: planned(503, {"Retry-After": "0"}),
    ],
    ids=["429 seconds", "429 date", "429 bare", "408", "500", "503"],
)
def test_reads_and_writes_survive_a_server_that_asks_for_patience(open_at, server, answer):
    collection = open_at(server)
    collection.add(PASSAGES[:5])
    server.planned = [("/points", answer()), ("/points", answer()), ("/count", answer())]
    assert collection.add(PASSAGES).added == 5
    assert collection.count() == 10
    assert server.planned == []


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_other_refusals_are_not_repeated(open_at, server, status):
    collection = open_at(server)
    collection.add(PASSAGES)
    server.planned = [("/count", planned(status)), ("/count", planned(200))]
    with pytest.raises(RetrievalError):
        collection.count()
    assert len(server.planned) == 1


@pytest.mark.parametrize(
    "content", [b"<html>", b"", b"[1]", b'{"status":"ok"}', b'{"result":null}', b'{"result":5}', b'{"result":{"a":1}}']
)
def test_an_answer_that_is_none_is_an_error_of_ours(open_at, server, content):
    collection = open_at(server)
    collection.add(PASSAGES)
    for path, call in (
        ("/count", collection.count),
        ("/points", lambda: collection.get([1])),
        ("/scroll", lambda: collection.delete(filter={"n": 1})),
        ("/things", lambda: open_at(server)),
        ("/points", lambda: collection.add(["more"])),
    ):
        server.planned = [(path, planned(200, content=content))]
        with pytest.raises(RetrievalError, match="not one of a Qdrant server"):
            call()
    assert collection.count() == 10


def test_too_few_answers_are_an_error_of_ours(open_at, server):
    kit = SearchKit("things", url=server.url, encoder=FakeEncoder(), reranker=FakeReranker())
    kit.add(PASSAGES)
    server.planned = [("/query/batch", planned(200, content=b'{"result":[{"points":[]}],"status":"ok","time":0}'))]
    with pytest.raises(RetrievalError, match="1 answers came for 2 searches"):
        kit.search("text")
    assert len(kit.search("text")) == 10
    kit.close()


def test_a_dead_server_is_left_alone_and_found_again(open_at):
    server = WireServer().start()
    changes = {"server": FAST | {"breaker": {"failures": 4, "open_s": 0.2}}}
    collection = open_at(server, **changes)
    collection.add(PASSAGES)
    server.planned = [("/count", planned(500))] * 4
    with pytest.raises(RetrievalError, match="500"):
        collection.count()
    seen = len(server.requests)
    with pytest.raises(CircuitOpenError, match=r"failed 4 times in a row.*let through in"):
        collection.get([1])
    assert len(server.requests) == seen
    time.sleep(0.25)
    assert collection.count() == 10
    server.stop()


# Time


def test_a_cap_below_one_second_is_kept(open_at, server):
    collection = open_at(server, timeout_s=0.3, server={"retry": {"attempts": 1}})
    collection.add(PASSAGES)
    with server.store._lock:
        started = time.monotonic()
        with pytest.raises(RetrievalTimeoutError, match="no answer in time"):
            collection.count()
        assert time.monotonic() - started < 0.3 + SLACK_S


def test_a_forked_client_makes_connections_of_its_own(open_at, server):
    collection = open_at(server)
    collection.add(PASSAGES)
    transport = collection._backend._client.init_options["transport"]
    pool = transport._connections()
    assert transport._connections() is pool
    transport._process = -1  # as a child sees it
    assert transport._connections() is not pool
    assert collection.count() == 10
    pool.close()


def test_a_server_that_drips_bytes_keeps_nobody(open_at, server):
    open_at(server).add(PASSAGES)
    with FaultyProxy(server.port, "drip", 0, rate=0.0) as proxy:
        collection = open_at(proxy, timeout_s=0.4, server={"retry": {"attempts": 1}})
        proxy.break_all()
        started = time.monotonic()
        with pytest.raises(RetrievalTimeoutError, match="no answer in time"):
            collection.get(range(10))  # more than a thousand bytes, ten milliseconds each
        assert 0.3 < time.monotonic() - started < 0.4 + SLACK_S


def test_a_search_ends_at_its_deadline_and_leaves_no_request_behind(server):
    with FaultyProxy(server.port, "drip", 0, rate=0.0) as proxy:
        kit = SearchKit("things", url=proxy.url, encoder=FakeEncoder(), reranker=FakeReranker())
        kit.add(PASSAGES, show_progress=False)
        proxy.break_all()
        started = time.monotonic()
        with pytest.raises(RetrievalTimeoutError):
            kit.search("text", deadline_s=0.3)
        assert time.monotonic() - started < 0.3 + SLACK_S
        end = time.monotonic() + 20  # the default of timeout_s, 30 s, would be longer
        while proxy.connection_count > 0:
            assert time.monotonic() < end
            time.sleep(0.01)
        kit.close()


# gRPC


@pytest.fixture
def over_grpc(open_at):
    """Open a collection whose points go over gRPC; gives the server and what opens."""
    with WireServer(is_strict=True) as rest, GrpcServer(rest.store, "canary-key") as made:
        grpc_settings = FAST | {"prefer_grpc": True, "grpc_port": made.port, "pool_size": 1}

        def open_it(**changes):
            return open_at(rest, **({"api_key": "canary-key", "server": grpc_settings} | changes))

        yield made, open_it


def test_everything_goes_over_grpc(over_grpc):
    server, open_it = over_grpc
    collection = open_it(filter_fields={"n": "integer"})
    collection.add(PASSAGES)
    assert (collection.count(), collection.count({"n": {"gte": 8}})) == (10, 2)
    assert [passage.text for passage in collection.get([3])] == ["text number 3"]
    dense = FakeEncoder(64).encode_queries(["text number 3"])[0]
    [found] = collection.retrieve([RetrievalRequest(depth=3, dense=dense)])
    assert found[0].id == 3
    assert collection.delete(filter={"n": 3}) == 1
    assert open_it().count() == 9
    assert {"Create", "Get", "CreateFieldIndex", "Upsert", "Count", "QueryBatch", "Scroll", "Delete"} <= {
        *server.methods
    }


def test_transient_codes_of_grpc_are_repeated_and_others_are_not(over_grpc):
    server, open_it = over_grpc
    collection = open_it()
    collection.add(PASSAGES)
    server.planned = [("Count", grpc.StatusCode.UNAVAILABLE, "down"), ("Count", grpc.StatusCode.INTERNAL, "panic")]
    assert collection.count() == 10
    server.planned = [("Count", grpc.StatusCode.FAILED_PRECONDITION, "no")] * 2
    with pytest.raises(RetrievalError, match=r"FAILED_PRECONDITION \[no\]"):
        collection.count()
    assert len(server.planned) == 1


def test_a_missing_index_over_grpc_is_the_setting_to_make(over_grpc):
    _, open_it = over_grpc
    collection = open_it()
    collection.add(PASSAGES)
    with pytest.raises(ConfigError, match=r"SearchKitConfig\(filter_fields=\{'lang': 'keyword'\}\)"):
        collection.count({"lang": "en"})


def test_a_wrong_key_over_grpc_is_said_to_be_wrong(over_grpc):
    _, open_it = over_grpc
    with pytest.raises(CollectionError, match="refuses the API key"):
        open_it(api_key="another")


def test_a_request_that_is_too_large_over_grpc_is_halved(over_grpc):
    server, open_it = over_grpc
    collection = open_it()
    collection.add(PASSAGES[:1])
    server.planned = [
        ("Upsert", grpc.StatusCode.OUT_OF_RANGE, "Error, decoded message length too large: found 9 bytes")
    ]
    assert collection.add(PASSAGES).added == 9
    assert server.methods.count("Upsert") == 4


def test_no_server_over_grpc_is_named(open_at, server):
    settings = {"prefer_grpc": True, "grpc_port": 1, "retry": {"attempts": 1}}
    with pytest.raises(RetrievalError, match="UNAVAILABLE"):
        open_at(server, server=settings)


# Attached collections


@pytest.fixture
def attached():
    """A collection as langchain-qdrant writes it, on a strict server."""
    with WireServer(is_strict=True) as made:
        encoder = FakeEncoder(64)
        client = QdrantClient(url=made.url, check_compatibility=False)
        client.create_collection("theirs", models.VectorParams(size=64, distance=models.Distance.COSINE))
        texts = [f"text number {n}" for n in range(5)]
        points = [
            models.PointStruct(id=n, vector=vector, payload={"page_content": text, "metadata": {"n": n}})
            for n, (text, vector) in enumerate(zip(texts, encoder.encode_passages(texts).tolist(), strict=True))
        ]
        client.upsert("theirs", points, wait=True)
        client.close()
        config = SearchKitConfig.model_validate({"server": FAST})
        kit = SearchKit.attach("theirs", url=made.url, encoder=encoder, reranker=FakeReranker(), config=config)
        yield made, kit
        kit.close()


def test_requests_to_an_attached_collection_are_repeated(attached):
    server, kit = attached
    server.planned = [("/count", planned(503)), ("/query/batch", planned(429)), ("/query/batch", planned(500))]
    assert kit.count() == 5
    assert len(kit.search("text number 3")) == 5
    assert server.planned == []


def test_a_missing_index_of_an_attached_collection_is_a_call(attached):
    _, kit = attached
    with pytest.raises(ConfigError, match=r"client\.create_payload_index\('theirs', 'metadata\.n'") as caught:
        kit.search("text", filter={"n": {"gte": 1}})
    assert "filter_fields" not in str(caught.value)


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefer_grpc": True, "verify_tls": False},
        {"ca_file": "x", "verify_tls": False},
        {"pool_size": 0},
        {"retry": {"attempts": 0}},
        {"breaker": {"failures": 0}},
        {"storage": {"quantization": "ternary"}},
        {"storage": {"shard_number": 0}},
        {"timeout": 3},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"ServerConfig.*cannot be used|no setting ServerConfig\.timeout"):
        ServerConfig.model_validate(wrong)


def test_settings_are_values(server):
    config = ServerConfig(retry=RetryConfig(attempts=2))
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ValueError, match="frozen"):
        config.pool_size = 3
