"""Authorizers: who the caller of a request is, and what they may do."""
