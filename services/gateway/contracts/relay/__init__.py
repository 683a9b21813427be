"""The Relay contract, served at /relay/api/v1; its paths are the native contract's too."""
