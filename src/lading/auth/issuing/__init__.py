"""The token service: who signs in here gets tokens for registries (specification: "Token Authentication")."""
