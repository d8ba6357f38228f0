"""The command line: one file for each group of commands, loaded when a command of it is used."""
