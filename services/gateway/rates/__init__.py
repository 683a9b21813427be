"""How many requests a minute a client may send, whatever gateway it reaches."""
