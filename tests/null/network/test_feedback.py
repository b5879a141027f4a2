"""A right value that is no label of the specialist is refused, with the nearest ones named."""

import pytest

from coterie.errors import InputError
from coterie.network.feedback import check_value
from coterie.types import Feedback
from tests.null.network.conftest import make_trace  # noqa: F401
