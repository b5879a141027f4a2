"""Model files: which are known, where they are stored, and how they are downloaded.

Only `pull` uses the network; it is imported, with the HTTP client it needs, on first use.
"""
