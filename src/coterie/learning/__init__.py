"""What all training shares: data, splits, metrics, calibration, fitting."""
