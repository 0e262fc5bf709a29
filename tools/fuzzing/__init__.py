"""Damaged and forged inputs for every reader; see `tools/fuzz.py`."""
