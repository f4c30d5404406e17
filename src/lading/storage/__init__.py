"""The storage drivers, one file each. All keep the promises of `lading.registry.ports.Storage`."""
