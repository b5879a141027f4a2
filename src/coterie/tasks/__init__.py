"""The tasks a specialist can do, one package each."""
