"""Methods that run the model to find a threshold: `auto` and `easyquant`, one file each.

Each is a function from a Task to what it chose for every tensor, registered in `methods.registry`; `Search`
gathers the samples and hands out the tasks.
"""
