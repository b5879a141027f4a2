"""The Python API: specialists fitted to values in memory, and a synchronous connection to a network."""
