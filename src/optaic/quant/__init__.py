"""Pure numerics: arrays in, arrays out; no files, no clock, no ledger."""
