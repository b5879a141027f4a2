"""Everything that can go wrong, by whose mistake it is.

    CoterieError
    ├── SetupError              the user's set-up: printed without a traceback, with the command that fixes it
    │   ├── ConfigError         coterie.toml does not say what it should
    │   ├── NotTrained          a specialist has no trained version yet
    │   ├── ModelMissing        a model file is not on this machine
    │   ├── ModelUnpinned       a model file whose checksum is not recorded
    │   ├── ExtraMissing        an optional package is not installed
    │   ├── ArtefactRefused     a stored version, model or index is tampered with, truncated or unknown
    │   ├── NotIndexed          a shelf has no index yet
    │   ├── IndexBusy           another process is indexing the shelf
    │   ├── StoreError          the database cannot be opened or written
    │   │   └── StoreUnavailable  its server does not answer, or not in time
    │   └── AuditError          the audit log cannot be written, so what it should say is not done
    ├── InputError              the caller's request or data
    │   ├── DataError           training or evaluation data is not usable
    │   ├── TrainingDiverged    fine-tuning came to no finite loss
    │   ├── UnknownSpecialist   a name that is not in the network
    │   └── TooLong             a prompt that does not fit the engine's window
    ├── PolicyError             a rule forbids it
    │   ├── EgressRefused       data above an engine's clearance
    │   ├── ReleaseRefused      a label may not be lowered so
    │   ├── BudgetExceeded      a budget has not enough left
    │   └── PromotionRefused    a version misses its bar or is worse than the champion
    ├── Overloaded              a bounded queue is full; come back later
    └── EngineError             what runs the weights, here or at a provider
        ├── EngineTimeout       no answer in time
        ├── EngineUnavailable   not reachable, 429 or 5xx, or its circuit breaker is open
        ├── EngineRejected      the provider refused the request: retrying will not help
        └── EngineBroken        an answer that cannot be used: cut stream, wrong JSON, crash

To add one: subclass the class that names whose mistake it is, give it a `code` that no other has, set
`retryable` if the same call may succeed later, and write the message as "what was asked, what was found";
what to do goes into `hint`. Codes are part of the API: they never change. A test checks all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coterie.types.reason import Reason

if TYPE_CHECKING:
    from coterie.types import Failure, Verdict


class CoterieError(Exception):
    """Base of every error Coterie raises on purpose."""

    code: ClassVar[str] = "coterie_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    @property
    def reason(self) -> Reason:
        """The error as the reason of a verdict."""
        return Reason(f"error.{self.code}", text=self.message.rstrip("."))


class SetupError(CoterieError):
    """The user's set-up needs a change; the hint is the command or edit that makes it."""

    code = "setup_error"


class ConfigError(SetupError):
    """coterie.toml does not say what it should."""

    code = "config_error"


class NotTrained(SetupError):
    """A specialist has no trained version yet."""

    code = "not_trained"


class ModelMissing(SetupError):
    """A model file is not on this machine."""

    code = "model_missing"


class ModelUnpinned(SetupError):
    """A model file is given by its path, and what it should be is not recorded, so it is not run."""

    code = "model_unpinned"


class ExtraMissing(SetupError):
    """An optional package is not installed."""

    code = "extra_missing"


class ArtefactRefused(SetupError):
    """A stored version, model file or index is tampered with, truncated or of an unknown kind."""

    code = "artefact_refused"


class NotIndexed(SetupError):
    """Nothing was indexed for a shelf yet."""

    code = "not_indexed"


class IndexBusy(SetupError):
    """Another process is indexing the shelf."""

    code = "index_busy"
    retryable = True


class StoreError(SetupError):
    """The database cannot be opened or written."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The database's server is not reachable, went away or was too slow."""

    code = "store_unavailable"
    retryable = True


class AuditError(SetupError):
    """The audit log cannot be written; what is not written down is not done."""

    code = "audit_error"


class InputError(CoterieError):
    """The caller's request cannot be served as it stands."""

    code = "input_error"


class DataError(InputError):
    """Training or evaluation data is not usable; the message names file, row and what was found."""

    code = "data_error"


class TrainingDiverged(InputError):
    """Fine-tuning came to a loss that is no finite number; nothing was stored."""

    code = "training_diverged"


class UnknownSpecialist(InputError):
    """A name that is not in the network."""

    code = "unknown_specialist"


class TooLong(InputError):
    """A prompt that does not fit the engine's window."""

    code = "too_long"


class PolicyError(CoterieError):
    """A rule forbids it; the verdict says which and why."""

    code = "policy_error"

    def __init__(self, verdict: Verdict, *, hint: str = "") -> None:
        super().__init__(str(verdict.reason), hint=hint)
        self.verdict = verdict

    @property
    def reason(self) -> Reason:
        """The verdict's."""
        return self.verdict.reason


class EgressRefused(PolicyError):
    """Data above an engine's clearance was about to leave."""

    code = "egress_refused"


class ReleaseRefused(PolicyError):
    """A label was to be lowered that may not be, or by whom may not, or without a reason that can be kept."""

    code = "release_refused"


class BudgetExceeded(PolicyError):
    """A budget of requests, tokens, money or joules has not enough left; nothing was spent."""

    code = "budget_exceeded"
    retryable = True

    def __init__(self, verdict: Verdict, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(verdict, hint=hint)
        self.retry_after = retry_after
        """Seconds until it is full again; None if it never is."""


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
        """Seconds after which another try makes sense."""
        self.failures: tuple[Failure, ...] = ()
        """Tries of an engine that failed before there was no place for the next."""


class EngineError(CoterieError):
    """What runs the weights failed, in this process or at a provider."""

    code = "engine_error"

    def __init__(self, message: str, *, engine: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.engine = engine
        self.failures: tuple[Failure, ...] = ()
        """Every try that failed, the last one included, where the engine counts them."""
        self.turned_away = False
        """The provider took nothing for it: it refused before it began."""


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
        """Seconds the provider asked to wait, if it did."""
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
