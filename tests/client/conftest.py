from tests.pullthrough.conftest import origin, package, upstream

__all__ = ["origin", "package", "upstream"]
