"""The kinds of flow: plain functions from a task to a result, which a test can call."""
