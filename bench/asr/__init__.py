"""Our Whisper runtime beside transformers and CTranslate2."""
