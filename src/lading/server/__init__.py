"""HTTP servers that run the application: one file each."""
