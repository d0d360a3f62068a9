from tests.support.fixtures import tmp_path

__all__ = ["tmp_path"]
