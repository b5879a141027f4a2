"""What may leave this process, decided by a rule that the code cannot walk around; and what was decided, kept."""

from __future__ import annotations

from ._asker import ASKER, Asker, texts_of
from ._audit import AuditLog
from ._audit_event import audit_feedback, audit_refusal, audit_request, refusals_noted
from ._audit_line import GENESIS, Place, read_entry
from ._audit_verify import Fault, Verification, verify_audit
from ._budget import ACCOUNT, Budgets, Spending, open_budgets
from ._clearance import ClearancePolicy
from ._egress import PSEUDONYMISED, Gate
from ._injection import SUSPECTED, orders_in, suspect
from ._keys import OWN_TENANT, PERMISSIONS, Key, KeyRing, NewKey, Permission, Role
from ._open_audit import attests, open_audit
from ._personal import Sighting, sight, worth_a_thread
from ._pseudonyms import PseudonymBook, Pseudonyms, Value

__all__ = [
    "ACCOUNT",
    "ASKER",
    "GENESIS",
    "OWN_TENANT",
    "PERMISSIONS",
    "PSEUDONYMISED",
    "SUSPECTED",
    "Asker",
    "AuditLog",
    "Budgets",
    "ClearancePolicy",
    "Fault",
    "Gate",
    "Key",
    "KeyRing",
    "NewKey",
    "Permission",
    "Place",
    "PseudonymBook",
    "Pseudonyms",
    "Role",
    "Sighting",
    "Spending",
    "Value",
    "Verification",
    "attests",
    "audit_feedback",
    "audit_refusal",
    "audit_request",
    "open_audit",
    "open_budgets",
    "orders_in",
    "read_entry",
    "refusals_noted",
    "sight",
    "suspect",
    "texts_of",
    "verify_audit",
    "worth_a_thread",
]
