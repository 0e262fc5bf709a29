"""Many machines: the shards of a run as tasks of a Ray cluster, and their statistics merged on the way."""
