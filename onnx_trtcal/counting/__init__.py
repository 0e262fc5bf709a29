"""Reading the data: runs it through the observed model, counts it, and keeps what a resumed run needs."""
