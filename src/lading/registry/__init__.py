"""What a registry does, over its ports: blobs, uploads, manifests, tags, referrers."""
