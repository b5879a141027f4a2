"""Networks on devices: signed folders that run without network."""
