"""The commands: the options and the function of each, in a module named like it.

Each function imports what it needs, so that help and usage errors stay fast.
"""
