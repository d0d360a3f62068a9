"""Fuzzing and model checking: ``python -m tests.fuzz``, ``…coverage_guided`` and ``…machine``.

The tests include a short run of each; docs/security.md has the figures of the long ones.
"""
