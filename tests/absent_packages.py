"""A program for another Python, in which all packages but some are made to look absent."""

HIDING = """
import sys
absent = set({absent!r})

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
"""
