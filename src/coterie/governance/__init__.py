"""What may leave this process, decided by a rule that the code cannot walk around; and what was decided, kept."""

from __future__ import annotations

from ._audit import AuditLog
from ._audit_event import audit_request
from ._audit_line import GENESIS, Place, read_entry
from ._audit_verify import Fault, Verification, verify_audit
from ._budget import ACCOUNT, Budgets, Spending, open_budgets
from ._clearance import ClearancePolicy
from ._egress import Gate
from ._keys import OWN_TENANT, PERMISSIONS, Key, KeyRing, NewKey, Permission, Role
from ._open_audit import attests, open_audit

__all__ = [
    "ACCOUNT",
    "GENESIS",
    "OWN_TENANT",
    "PERMISSIONS",
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
    "Role",
    "Spending",
    "Verification",
    "attests",
    "audit_request",
    "open_audit",
    "open_budgets",
    "read_entry",
    "verify_audit",
]
