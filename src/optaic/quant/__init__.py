"""Numbers of quantitative research as pure functions: no ledger, no files, no clock."""
