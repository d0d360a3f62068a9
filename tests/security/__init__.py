"""Each public defect of another session layer, as a test that puts this one through the same steps.

A test names its case with ``@case(number)``. The first line of its docstring is the promise; the paragraph ``Case N:
id, product: what happened`` tells what went wrong elsewhere. ``python -m tests.security.table`` makes the tables of
docs/security.md out of them.
"""
