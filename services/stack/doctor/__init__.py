"""`steno doctor`: whether Steno can run here, and what to do where it cannot."""
