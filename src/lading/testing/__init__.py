"""Contract suites for drivers, Lading's own and those of others. They need nothing but this package."""
