"""The tritonserver that `steno up --engine triton` runs: its interpreter, its command line, its end."""
