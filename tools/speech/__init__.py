"""Generator of the sample meeting, the test clips and their container forms."""
