"""Fuzzing and model checking: ``python -m tests.fuzz``, ``…coverage_guided`` and ``…machine``.

A short run of each is among the tests; docs/security.md has the figures of the long ones.
"""
