"""The OpenAI audio contract, as its official clients speak it."""
