"""Every key a registry writes, byte-compatible with CNCF Distribution.

    /docker/registry/v2
    ├── _lading/quarantine/<time>.<reason>/…
    ├── blobs/<algorithm>/<first two digits>/<digits>/data
    └── repositories/<name>/
        ├── _layers/<algorithm>/<digits>/link
        ├── _manifests/
        │   ├── revisions/<algorithm>/<digits>/link
        │   └── tags/<tag>/
        │       ├── current/link
        │       └── index/<algorithm>/<digits>/link
        ├── _referrers/<subject algorithm>/<subject digits>/<algorithm>/<digits>/link
        └── _uploads/<id>/
            ├── startedat
            ├── data
            └── hashstates/<algorithm>/<offset>

A link file holds the digest under which the data lies, and nothing else. `_referrers` and `_lading` are Lading's
own: the original skips directories it does not know. In quarantine things lie under the key they had below the root.
"""

from __future__ import annotations

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag

ROOT = "/docker/registry/v2"
REPOSITORIES = f"{ROOT}/repositories"
BLOBS = f"{ROOT}/blobs"
QUARANTINE = f"{ROOT}/_lading/quarantine"

MANIFESTS = "_manifests"
UPLOADS = "_uploads"
CURRENT_LINK = "current/link"
"""Below a tag: without it, there is none."""


def _digest_path(digest: Digest) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm}/{encoded}"


def repository(name: str) -> str:
    return f"{REPOSITORIES}/{name}"


def blob_data(digest: Digest) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"{BLOBS}/{algorithm}/{encoded[:2]}/{encoded}/data"


def layer_link(name: RepositoryName, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/_layers/{_digest_path(digest)}/link"


def manifests(name: RepositoryName) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}"


def manifest_link(name: RepositoryName, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/revisions/{_digest_path(digest)}/link"


def tags(name: RepositoryName) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags"


def tag(name: RepositoryName, tag: Tag) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags/{tag}"


def tag_link(name: RepositoryName, tag: Tag) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags/{tag}/{CURRENT_LINK}"


def tag_history_link(name: RepositoryName, tag: Tag, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags/{tag}/index/{_digest_path(digest)}/link"


def referrers(name: RepositoryName, subject: Digest, algorithm: str) -> str:
    return f"{REPOSITORIES}/{name}/_referrers/{_digest_path(subject)}/{algorithm}"


def referrer_link(name: RepositoryName, subject: Digest, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/_referrers/{_digest_path(subject)}/{_digest_path(digest)}/link"


def uploads(name: str) -> str:
    return f"{REPOSITORIES}/{name}/{UPLOADS}"


def upload(name: str, upload_id: str) -> str:
    return f"{REPOSITORIES}/{name}/{UPLOADS}/{upload_id}"


def upload_started_at(name: str, upload_id: str) -> str:
    return f"{REPOSITORIES}/{name}/{UPLOADS}/{upload_id}/startedat"


def upload_data(name: str, upload_id: str) -> str:
    return f"{REPOSITORIES}/{name}/{UPLOADS}/{upload_id}/data"


def upload_hash_state(name: str, upload_id: str, algorithm: str, offset: int) -> str:
    return f"{REPOSITORIES}/{name}/{UPLOADS}/{upload_id}/hashstates/{algorithm}/{offset}"
