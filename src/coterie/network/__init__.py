"""The way of a request from admission to settlement."""
