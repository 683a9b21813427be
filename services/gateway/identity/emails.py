"""E-mail addresses in the one spelling that users are found by."""

import re

MAX_EMAIL_CHARACTERS = 254
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# ASCII only: lowering other letters folds look-alikes together (the Kelvin sign becomes k). Syntax of the HTML standard.
_EMAIL = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")


def read_email(text: str) -> str | None:
    """The address in lower case; None when it is not one."""
    if len(text) > MAX_EMAIL_CHARACTERS or not text.isascii():
        return None
    email = text.lower()
    return email if _EMAIL.fullmatch(email) else None
