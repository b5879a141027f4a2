"""Logs and exports of large-model calls as training rows: records, exchanges, fields, files."""
