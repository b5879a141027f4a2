"""`POST /v1/decisions`: OpenAI's Decisions API over the network's typed questions, and what both doors share."""
