"""Every part of a manifest counts."""

from __future__ import annotations

import pytest

from searchkit.collection.manifest import check_manifest, manifest_of, read_manifest
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError
from searchkit.stages import EncoderFingerprint
from searchkit.testing import FakeEncoder, FakeSparseEncoder


def made(**config):
    return manifest_of(FakeEncoder(), FakeSparseEncoder(), SearchKitConfig.model_validate(config))


def test_a_manifest_survives_json():
    assert read_manifest(made().model_dump(mode="json"), "here") == made()


def test_every_field_that_decides_on_vectors_is_compared():
    """A field added to the fingerprint must be compared as well, or be named here with the reason."""
    not_compared = {"model"}  # one model has several names; its hash is compared
    for name, field in EncoderFingerprint.model_fields.items():
        value = "other" if field.annotation is str else 7
        changed = made().model_copy(update={"encoder": made().encoder.model_copy(update={name: value})})
        if name in not_compared:
            check_manifest(made(), changed, "here")
        else:
            with pytest.raises(CollectionError, match="here was made with"):
                check_manifest(made(), changed, "here")


def test_every_other_field_is_compared():
    for name in set(type(made()).model_fields) - {"schema_version", "encoder", "sparse_encoder"}:
        with pytest.raises(CollectionError, match="here was made with"):
            check_manifest(made(), made().model_copy(update={name: "other"}), "here")


def test_windows_leave_room_for_special_tokens_and_the_prompt():
    class Prompted(FakeEncoder):
        def fingerprint(self):
            return super().fingerprint().model_copy(update={"passage_prompt": "passage of text: "})

    assert made().window_tokens == 254
    assert manifest_of(Prompted(), FakeSparseEncoder(), SearchKitConfig()).window_tokens == 251
