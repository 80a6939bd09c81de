"""Programs for maintainers, which no wheel carries."""
