"""The parts of tools/bench.py: contenders, each in a process of its own, and the tables made of what they report."""
