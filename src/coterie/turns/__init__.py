"""What a turn of a conversation is: small talk or a request, and whether it depends on what was said before."""
