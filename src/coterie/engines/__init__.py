"""Engines: linear heads, the ONNX encoder, GGUF models in this process, OpenAI-compatible servers.

The libraries behind them are imported with the engine that needs them, not with this package.
"""
