"""What several folders of tests share: sites, browsers, stores, servers and data. No test of its own stands here."""

from pathlib import Path

#: The folder of the checkout.
ROOT = Path(__file__).parents[2]
