"""The error tree: what a caller may catch."""

from __future__ import annotations

import pickle

import pytest

from searchkit import errors
from searchkit.errors import (
    CollectionError,
    ConfigError,
    DeviceMemoryError,
    EncodingError,
    MissingExtraError,
    ModelLoadError,
    PayloadError,
    RerankError,
    RetrievalError,
    RetrievalTimeoutError,
    SearchkitError,
    StoreFormatError,
)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (ConfigError, (SearchkitError, ValueError)),
        (MissingExtraError, (SearchkitError, ImportError)),
        (CollectionError, (RetrievalError,)),
        (StoreFormatError, (CollectionError,)),
        (PayloadError, (RetrievalError, ValueError)),
        (EncodingError, (RetrievalError,)),
        (RetrievalTimeoutError, (RetrievalError, TimeoutError)),
        (ModelLoadError, (RerankError,)),
        (DeviceMemoryError, (RerankError,)),
    ],
)
def test_each_error_is_caught_by_its_bases(kind, bases):
    for base in (*bases, SearchkitError):
        assert issubclass(kind, base)


def test_the_drawing_in_the_docstring_names_every_class():
    drawn = errors.__doc__
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, SearchkitError):
            assert name in drawn


def test_missing_extra_says_the_exact_install_line_and_survives_pickling():
    error = pickle.loads(pickle.dumps(MissingExtraError("the command line", "cli")))
    assert "pip install 'searchkit[cli]'" in str(error)
    assert (error.feature, error.extra) == ("the command line", "cli")
