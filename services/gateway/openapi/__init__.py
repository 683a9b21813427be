"""The documents of the public API: OpenAPI made from the contracts, and the page that shows it."""
