"""One module for each way of storing arrays.

A reader takes a path, and what messages call the file, and returns its arrays by the names that the file gives them:
`""` where it gives none. It reads headers only where the format has any; the values follow when they are asked for.
It raises DataError, naming the file, for one that is damaged or is not of its kind.
"""
