"""Numerics: pure functions on arrays, with no database, no files and no clock."""
