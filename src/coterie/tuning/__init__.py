"""Fine-tuning encoders and small causal models.

What needs the extra `train` (torch, transformers, peft, onnx, gguf) is imported when it is used.
"""
