"""Parts of tools/compare_tools.py."""
