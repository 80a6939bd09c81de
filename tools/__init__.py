"""Programs for maintainers. They are not part of any distribution."""
