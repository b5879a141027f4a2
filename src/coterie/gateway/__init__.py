"""The HTTP server: a network behind the OpenAI API, so that an existing client only changes its base URL."""
