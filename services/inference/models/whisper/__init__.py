"""Whisper on ONNX Runtime: from samples to words, many windows at a time."""
