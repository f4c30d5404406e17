"""The vocabulary of the OCI distribution specification: pure, synchronous values and rules."""
