"""`steno datasets`: from a folder of labelled recordings to a trained detector and what it finds, over REST alone."""
