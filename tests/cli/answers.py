"""What the servers that play the gateway answer."""

from starlette.responses import JSONResponse, Response


def error(status: int, code: str, sentence: str, **headers: str) -> Response:
    """The contract's error object."""
    return JSONResponse({"error": sentence, "code": code, "detail": sentence}, status, headers)
