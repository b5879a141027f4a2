"""How much machinery a job needs: every rung measured whole (quality, latency, memory, energy, money), and a verdict.

A large model can stand beside the rungs, by answers on file or asked through an engine that the caller opened. Nothing
here opens a connection, and nothing is stored unless asked for. Names are loaded when they are first used: the process
that measures a rung's memory holds this package, and must hold nothing else of it.
"""
