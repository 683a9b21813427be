"""Benchmarks: each figure beside a baseline that runs in the same minute on the same machine."""
