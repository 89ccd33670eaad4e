"""The command ``dovetail``: set up, run, submit, look inside and explain."""
