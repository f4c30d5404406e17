"""Configuration: YAML, then `REGISTRY_*` overrides on its tree, then typed models. Start at `load`."""
