"""Registries to pull through from: `lading.registry.upstream.Upstream` over the client."""
