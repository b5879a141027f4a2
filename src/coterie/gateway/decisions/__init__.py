"""`POST /v1/decisions`: OpenAI's Decisions API over the network's typed questions, and code shared with System One."""
