"""The data room: whatever the user has, turned into batches that the model takes."""
