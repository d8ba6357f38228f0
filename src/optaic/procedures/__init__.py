"""Procedures of the product: what executes an instance that names no code of its own."""
