"""The ledger: SQL on SQLite and PostgreSQL, one file per noun."""
