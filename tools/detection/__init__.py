"""Generator of labelled recordings with artefacts in them."""
