"""Networks on devices: signed folders that run offline."""
