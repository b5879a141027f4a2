"""Right-sizing: every rung of a job measured whole (quality, latency, memory, energy, money), and a verdict.

A large model can be compared, by answers on file or through an engine that the caller opened. Nothing
here opens a connection, and nothing is stored unless requested. Names are loaded on first use: the process
that measures a rung's memory imports this package, and must load nothing else of it.
"""
