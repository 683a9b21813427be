"""The judge of a campaign: it knows only what clients wrote down, what the API says, the tables and the blobs."""
