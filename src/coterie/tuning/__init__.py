"""Fine-tuning encoders and small causal models.

Modules that need the extra `train` (torch, transformers, peft, onnx, gguf) are imported on use.
"""
