"""What a broken engine may do to sessions: ``python -m tests.faults`` breaks each, under load, and prints the table.

``visitor`` makes requests, ``worker`` is a process full of visitors, ``crew`` all of them together. What they were told
stands in the ``ledger``; what of it was not true afterwards, ``verdict`` says. ``engines`` are what they visit,
``faults`` what is done to it, ``run`` one such hour of trouble, and ``report`` the table.
"""
