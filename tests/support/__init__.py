"""What several folders of tests share: sites, browsers, stores, servers and data. There are no tests in this folder."""

from pathlib import Path

#: The folder of the checkout.
ROOT = Path(__file__).parents[2]
