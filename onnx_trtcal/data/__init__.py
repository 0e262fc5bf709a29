"""Calibration data: files, folders and Python objects become samples, and samples become batches.

sources      the entrance: any data to a stream of samples
paths, file_lists, folders, loader_script    what is given: paths, globs, lists of files, Python files
iterables, transform    Python objects, and the caller's own preprocessing
items, file_items, elements    what one file, or one element of Python data or row of a file, holds for each input
formats, readers, arrays    how it is read
samples, layout, casts    what the model takes, and how arrays become that
images       decoding and preprocessing
notes, array_hints    what is said of the data while it is read
batching, prefetch    samples to batches, decoded in background threads
"""
