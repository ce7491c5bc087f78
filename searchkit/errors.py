"""Every error a caller can meet, as one tree.

    SearchkitError
    ├── ConfigError (ValueError)           an argument or a setting is wrong
    ├── MissingExtraError (ImportError)    an optional dependency is not installed
    ├── RetrievalError                     stage 1 or the collection failed
    │   ├── CollectionError                the collection is missing, foreign, locked, damaged or made otherwise
    │   │   └── StoreFormatError           another version of searchkit wrote it, in another format
    │   ├── PayloadError (ValueError)      a passage, an id or a stored payload is unusable
    │   ├── EncodingError                  a bi-encoder could not be loaded or returned unusable vectors
    │   ├── CircuitOpenError               a server failed so often that it is not asked for a while
    │   └── RetrievalTimeoutError (TimeoutError)
    └── RerankError                        stage 2 failed
        ├── ModelLoadError                 a cross-encoder could not be found or loaded
        ├── ClosedRerankerError            the kit or the reranker that was asked is closed
        └── DeviceMemoryError              the device ran out of memory even at the smallest batch

A message says what was wrong, with the value, and what to do. Vendor errors are mapped where the vendor is called
and stay reachable as ``__cause__``.
"""

from __future__ import annotations


class SearchkitError(Exception):
    """Base of every error that searchkit raises on purpose."""


class ConfigError(SearchkitError, ValueError):
    """An argument or a setting has a value that cannot work."""


class MissingExtraError(SearchkitError, ImportError):
    """An optional dependency is needed and not installed.

    Args:
        feature: What the caller wanted, as a noun phrase ("the command line").
        extra: Name of the searchkit extra that brings the dependency.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'searchkit[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle by the constructor's arguments, which are not the message."""
        return type(self), (self.feature, self.extra)


class RetrievalError(SearchkitError):
    """Stage 1, or the collection behind it, failed."""


class CollectionError(RetrievalError):
    """The collection is missing, not ours, locked, damaged, or was made with other settings."""


class StoreFormatError(CollectionError):
    """Another version of searchkit wrote the collection, in a format that this one does not read.

    Args:
        message: Which format it has, which one this searchkit reads, and what to do.
        is_upgradable: Whether ``searchkit doctor --repair`` brings it up to date.
    """

    def __init__(self, message: str, *, is_upgradable: bool = False) -> None:
        self.is_upgradable = is_upgradable
        super().__init__(message)

    def __reduce__(self) -> tuple[type[StoreFormatError], tuple[str], dict[str, bool]]:
        """Pickle the argument that is no part of the message as well."""
        return type(self), (str(self),), {"is_upgradable": self.is_upgradable}


class PayloadError(RetrievalError, ValueError):
    """A passage, an id or a stored payload is unusable."""


class EncodingError(RetrievalError):
    """A bi-encoder could not be loaded or returned vectors that cannot be used."""


class CircuitOpenError(RetrievalError):
    """A server failed several times in a row, so nothing was sent to it.

    Args:
        message: What failed last and when the next request is let through.
        retry_after_s: Seconds until then.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def __reduce__(self) -> tuple[type[CircuitOpenError], tuple[str, float]]:
        """Pickle by both arguments of the constructor."""
        return type(self), (str(self), self.retry_after_s)


class RetrievalTimeoutError(RetrievalError, TimeoutError):
    """Stage 1 did not answer in time."""


class RerankError(SearchkitError):
    """Stage 2 failed."""


class ModelLoadError(RerankError):
    """A cross-encoder could not be found or loaded."""


class ClosedRerankerError(RerankError):
    """The kit or the scheduled reranker that was asked is closed."""


class DeviceMemoryError(RerankError):
    """The device ran out of memory even at the smallest batch."""


def error_classes(error: BaseException) -> str:
    """Return the class of an error and those of its causes, for a log: messages may quote texts, classes do not."""
    names = [type(error).__name__]
    while (cause := error.__cause__) is not None and len(names) < 8:
        names.append(type(cause).__name__)
        error = cause
    return " from ".join(names)
