"""Logs and exports of large-model calls read as training rows: records, exchanges, fields, files."""
