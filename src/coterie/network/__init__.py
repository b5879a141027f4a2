"""A request from admission to settlement."""
