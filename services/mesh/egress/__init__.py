"""The one way out of the mesh: URLs that others gave, judged first and fetched within limits."""
