"""Coterie's own HTTP API."""
