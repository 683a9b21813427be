"""What runs inside a Triton Inference Server, and the form in which it is asked.

Its interpreter has numpy 1, onnxruntime and tokenizers and nothing else: so imports here, and of the service only what gets by with those.
"""
