"""Hostile input, made by code."""
