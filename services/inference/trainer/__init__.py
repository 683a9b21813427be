"""The training of a detector as its parent sees it: a folder, a child process, what that tells."""
