"""Bytes: an object store whose keys are never overwritten, and the segments of datasets in it."""
