"""From a Whisper checkpoint in Hugging Face layout to the ONNX graphs that this package runs."""
