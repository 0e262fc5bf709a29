"""How far two arrays are apart: pure functions on arrays."""
