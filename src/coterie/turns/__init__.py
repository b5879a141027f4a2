"""Classifies a turn of a conversation: small talk or a request, and whether it depends on earlier turns."""
