"""`coterie.toml`: the sections of a network's file, and the reader that checks them."""
