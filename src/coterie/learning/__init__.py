"""Shared parts of all training: data, splits, metrics, calibration, fitting."""
