"""Commands that talk to registries as any client does; they read no configuration of a server."""
