"""The error tree: one short `reason` word each, and one clear line. Nothing here picks an HTTP status."""

from typing import ClassVar


class ReceiverError(Exception):
    """Something a person or a peer caused, or can mend; `str()` is one clear line."""

    reason: ClassVar[str] = "error"


class UndecodableError(ReceiverError):
    """An authenticated body that cannot be read as this carrier's callback.

    Attributes:
        offset: the byte of the body where reading failed, where that is known.
    """

    reason = "undecodable"

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class UntrustedError(ReceiverError):
    """A peer that is not let in; `code` is the short reason that reaches log, metrics and refusal."""

    reason = "untrusted"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class UnknownTargetError(ReceiverError):
    """No such carrier, application or URL key. The three are told apart only in our own counters."""

    reason = "unknown_target"

    def __init__(self, code: str) -> None:
        super().__init__("no such callback address")
        self.code = code


class OverloadedError(ReceiverError):
    """The queue in front of the disk is full; the same bytes are welcome later."""

    reason = "overloaded"


class QuotaError(ReceiverError):
    """A quota is used up.

    Attributes:
        what: which quota, `unknown_kind`, `quarantine` or `held`.
    """

    reason = "quota"

    def __init__(self, what: str) -> None:
        super().__init__(f"the quota for {what} deliveries of this application is used up")
        self.what = what


class StoreError(ReceiverError):
    """The store could not keep something, or cannot be opened."""

    reason = "store"


class DiskFullError(StoreError):
    """There is no room; what could not be written now can be once there is."""

    reason = "disk_full"


class DamagedError(StoreError):
    """A file of the store is no database any more."""

    reason = "damaged"


class RowRefusedError(StoreError):
    """One row was refused by the store; its neighbours are not concerned."""

    reason = "store_row"


class StoreLockedError(StoreError):
    """Another process serves this store."""

    reason = "store_locked"


class SettingsError(ReceiverError):
    """A setting that cannot be used; names the key, the value and what is allowed."""

    reason = "settings"


class QueryError(ReceiverError):
    """A query that cannot be answered.

    Attributes:
        parameter: the query parameter at fault.
    """

    reason = "query"

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class CertificateError(ReceiverError):
    """Certificate work that cannot be done: what, where, what to do."""

    reason = "certificate"


class UsageError(ReceiverError):
    """A command that cannot be carried out as asked."""

    reason = "usage"
