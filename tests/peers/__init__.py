"""A tool: runs the test suites of other packages, with their own sessions and with ours. See ``__main__.py``."""
