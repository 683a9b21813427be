"""An HTTP listener's edge: what uvicorn lacks between the socket and the application."""
