"""The words and rules of the product: pure, without I/O, clock or chance."""
