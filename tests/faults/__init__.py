"""What a broken engine may do to sessions: ``python -m tests.faults`` breaks each, under load, and prints the table.

``visitor`` makes requests, ``worker`` is one process of visitors, and ``crew`` starts all the processes. The
``ledger`` records every request and its answer; ``verdict`` compares it with what the sessions hold afterwards.
``faults`` lists the faults, ``scene``, ``databases``, ``disks`` and ``failovers`` cause them, ``run`` runs one, and
``report`` prints the table.
"""
