"""The errors of Coterie, grouped by their cause.

    CoterieError
    ├── SetupError              the user's set-up: printed without a traceback, with the command that fixes it
    │   ├── ConfigError         coterie.toml is invalid
    │   ├── NotTrained          a specialist has no trained version yet
    │   ├── ModelMissing        a model file is not on this machine
    │   ├── ModelUnpinned       a model file whose checksum is not recorded
    │   ├── ExtraMissing        an optional package is not installed
    │   ├── ArtefactRefused     a stored version, model or index is tampered with, truncated or unknown
    │   ├── NotIndexed          an index was not built yet
    │   ├── IndexBusy           another process is building the index
    │   ├── StoreError          the database cannot be opened or written
    │   │   └── StoreUnavailable  the database server does not answer, or not in time
    │   └── AuditError          the audit log cannot be written, so the action is not done
    ├── InputError              the caller's request or data
    │   ├── DataError           training or evaluation data is not usable
    │   ├── TrainingDiverged    the loss of a fine-tuning is not finite
    │   ├── UnknownSpecialist   a name that is not in the network
    │   └── TooLong             a prompt that does not fit the engine's window
    ├── PolicyError             a rule forbids the action
    │   ├── EgressRefused       data above an engine's clearance
    │   ├── ReleaseRefused      a label may not be lowered
    │   ├── BudgetExceeded      a budget has not enough left
    │   └── PromotionRefused    a version misses its bar or is worse than the champion
    ├── Overloaded              a bounded queue is full; come back later
    └── EngineError             an engine failed, here or at a provider
        ├── EngineTimeout       no answer in time
        ├── EngineUnavailable   not reachable, 429 or 5xx, or its circuit breaker is open
        ├── EngineRejected      the provider refused the request: retrying will not help
        └── EngineBroken        an answer that cannot be used: cut stream, wrong JSON, crash

A `SetupError` is the operator's to mend: its message and hint may name files and settings of this machine. Callers get
`public`, the line of its class; the log of the gateway and the command line have the rest.

To add an error: subclass the class of its cause, give it a unique `code`, and set `retryable` if the same call may
succeed later. The message states the request and the problem; `hint` states what to do. Codes are part of the API: they
never change. A test checks these rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coterie.types.reason import OPERATOR, Reason

if TYPE_CHECKING:
    from coterie.types import Failure, Verdict


class CoterieError(Exception):
    """Base class of all errors that Coterie raises on purpose."""

    code: ClassVar[str] = "coterie_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    @property
    def public(self) -> str:
        """The error in words for a caller, who may be on another machine."""
        return str(self)

    @property
    def reason(self) -> Reason:
        """The error as the reason of a verdict."""
        return Reason(f"error.{self.code}", text=self.message.rstrip("."))


class SetupError(CoterieError):
    """The user's set-up needs a change; the hint names the command or edit."""

    code = "setup_error"

    @property
    def public(self) -> str:
        """The first line of the class: message and hint are for the operator."""
        return (type(self).__doc__ or self.code).partition("\n")[0]

    @property
    def reason(self) -> Reason:
        """The error as the reason of a verdict, with the message and hint for the operator alone."""
        details = " ".join(filter(None, (self.message, self.hint))).rstrip(".")
        return Reason(f"error.{self.code}", text=self.public.rstrip("."), **{OPERATOR: details})


class ConfigError(SetupError):
    """coterie.toml is invalid."""

    code = "config_error"


class NotTrained(SetupError):
    """A specialist has no trained version yet."""

    code = "not_trained"


class ModelMissing(SetupError):
    """A model file is not on this machine."""

    code = "model_missing"


class ModelUnpinned(SetupError):
    """A model file is given by its path and its checksum is not recorded, so it is not run."""

    code = "model_unpinned"


class ExtraMissing(SetupError):
    """An optional package is not installed."""

    code = "extra_missing"


class ArtefactRefused(SetupError):
    """A stored version, model file or index is tampered with, truncated or of an unknown kind."""

    code = "artefact_refused"


class NotIndexed(SetupError):
    """An index was not built yet."""

    code = "not_indexed"


class IndexBusy(SetupError):
    """Another process is building the index."""

    code = "index_busy"
    retryable = True


class StoreError(SetupError):
    """The database cannot be opened or written."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The database server is not reachable, closed the connection or was too slow."""

    code = "store_unavailable"
    retryable = True


class AuditError(SetupError):
    """The audit log cannot be written; an action that is not recorded is not done."""

    code = "audit_error"


class InputError(CoterieError):
    """The caller's request cannot be served as it is."""

    code = "input_error"


class DataError(InputError):
    """Training or evaluation data is not usable; the message names file, row and what was found."""

    code = "data_error"


class TrainingDiverged(InputError):
    """The loss of a fine-tuning is not finite; nothing was stored."""

    code = "training_diverged"


class UnknownSpecialist(InputError):
    """A name that is not in the network."""

    code = "unknown_specialist"


class TooLong(InputError):
    """A prompt that does not fit the engine's window."""

    code = "too_long"


class PolicyError(CoterieError):
    """A rule forbids the action; the verdict has rule and reason."""

    code = "policy_error"

    def __init__(self, verdict: Verdict, *, hint: str = "") -> None:
        super().__init__(str(verdict.reason), hint=hint)
        self.verdict = verdict

    @property
    def reason(self) -> Reason:
        """The reason of the verdict."""
        return self.verdict.reason


class EgressRefused(PolicyError):
    """A prompt above the engine's clearance was refused by the egress gate."""

    code = "egress_refused"


class ReleaseRefused(PolicyError):
    """A release was refused: the label or the principal does not permit it, or the reason cannot be kept."""

    code = "release_refused"


class BudgetExceeded(PolicyError):
    """A budget of requests, tokens, money or joules does not suffice; nothing was spent."""

    code = "budget_exceeded"
    retryable = True

    def __init__(self, verdict: Verdict, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(verdict, hint=hint)
        self.retry_after = retry_after
        """Seconds until the budget is full again; None if it never is."""


class PromotionRefused(PolicyError):
    """A version misses its bar, or is worse than the champion."""

    code = "promotion_refused"


class Overloaded(CoterieError):
    """A bounded queue is full."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        """Seconds after which a retry is useful."""
        self.failures: tuple[Failure, ...] = ()
        """Failed tries of an engine before the queue was full."""
        self.sent = True
        """Whether something of the last try may have left this machine, where an engine says so."""


class EngineError(CoterieError):
    """An engine failed, in this process or at a provider."""

    code = "engine_error"

    def __init__(self, message: str, *, engine: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.engine = engine
        self.failures: tuple[Failure, ...] = ()
        """All failed tries, the last one included, if the engine counts them."""
        self.turned_away = False
        """Whether the provider refused the call before any work, so that it is not billed."""
        self.sent = True
        """Whether something of the last try may have left this machine."""


class EngineTimeout(EngineError):
    """No answer in time."""

    code = "engine_timeout"
    retryable = True


class EngineUnavailable(EngineError):
    """Not reachable, 429 or 5xx, or its circuit breaker is open."""

    code = "engine_unavailable"
    retryable = True

    def __init__(self, message: str, *, engine: str, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, engine=engine, hint=hint)
        self.retry_after = retry_after
        """Seconds that the provider asked to wait (`Retry-After`); None if it named none."""
        self.turned_away = True


class EngineRejected(EngineError):
    """The provider refused the request; the same request will be refused again."""

    code = "engine_rejected"

    def __init__(self, message: str, *, engine: str, hint: str = "") -> None:
        super().__init__(message, engine=engine, hint=hint)
        self.turned_away = True


class EngineBroken(EngineError):
    """An answer that cannot be used: a cut stream, wrong JSON, a crash."""

    code = "engine_broken"
    retryable = True
