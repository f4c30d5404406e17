"""Sub-commands of `lading`, a file each."""
