"""The schema of the configuration file as typed models, one module per section; the whole is `configuration`."""
