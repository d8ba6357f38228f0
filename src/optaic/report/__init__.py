"""Reports as one self-contained HTML page, and charts for the terminal: plain data in, text out; no I/O, no clock."""
