"""The HTTP door: a network behind the OpenAI API, so that an existing client only changes its base URL."""

from ._app import create_app
from ._serve import serve

__all__ = ["create_app", "serve"]
