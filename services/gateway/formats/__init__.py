"""A stored Transcript as the documents that people download."""
