"""Why Triton cannot run here."""


class TritonUnavailable(Exception):
    """This machine cannot run the embedded Triton; the message says what to do."""
