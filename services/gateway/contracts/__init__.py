"""One thin translator per published contract."""
