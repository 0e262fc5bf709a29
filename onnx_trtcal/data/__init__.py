"""Calibration data: files, folders and Python objects become samples, and samples become batches.

sources      the entrance: any data to a stream of samples
folders, iterables, items, formats, readers    what is there, and how it is read
samples, layout, casts    what the model takes, and how arrays become that
images       decoding and preprocessing
batching, prefetch    samples to batches, decoded in background threads
"""
