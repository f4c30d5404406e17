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
        ├── _pulled/
        │   ├── since
        │   └── <algorithm>/<digits>
        ├── _referrers/<subject algorithm>/<subject digits>/<algorithm>/<digits>/link
        └── _uploads/<id>/
            ├── startedat
            ├── data
            └── hashstates/<algorithm>/<offset>

A link file holds the digest under which the data lies, and nothing else. `_lading`, `_pulled` and `_referrers` are
Lading's own: the original skips directories it does not know. What is in quarantine lies there under the key it
had below the root. A file in `_pulled` is as old as the last pull of the manifest, and `since` as old as the first
look at them by retention.
"""

from __future__ import annotations

from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.names import RepositoryName, Tag

ROOT = "/docker/registry/v2"
REPOSITORIES = f"{ROOT}/repositories"
BLOBS = f"{ROOT}/blobs"
QUARANTINE = f"{ROOT}/_lading/quarantine"

MANIFESTS = "_manifests"
REVISIONS = f"{MANIFESTS}/revisions"
LAYERS = "_layers"
SCHEDULE = "/scheduler-state.json"
"""At the root: when what is pulled through expires, in the original's form."""
UPLOADS = "_uploads"
REFERRERS = "_referrers"
PULLED = "_pulled"
PARTS = (MANIFESTS, UPLOADS, LAYERS, REFERRERS, PULLED)
"""What a repository's own directory holds. All else there are repositories whose names begin with its name."""
FILES = ("data", "link", "startedat")
"""What keys of objects end in. The registry never asks whether there is a directory of such a name."""
LINKS = ("link",)
"""Those of objects that hold a digest."""
CURRENT_LINK = "current/link"
"""Below a tag: without it, there is none."""
HISTORY = "index"
"""Below a tag: what it has shown."""


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
    return f"{REPOSITORIES}/{name}/{REVISIONS}/{_digest_path(digest)}/link"


def tags(name: RepositoryName) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags"


def tag(name: RepositoryName, tag: Tag) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags/{tag}"


def tag_link(name: RepositoryName, tag: Tag) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags/{tag}/{CURRENT_LINK}"


def tag_history_link(name: RepositoryName, tag: Tag, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/{MANIFESTS}/tags/{tag}/{HISTORY}/{_digest_path(digest)}/link"


def referrers(name: RepositoryName, subject: Digest, algorithm: str) -> str:
    return f"{REPOSITORIES}/{name}/_referrers/{_digest_path(subject)}/{algorithm}"


def referrer_link(name: RepositoryName, subject: Digest, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/_referrers/{_digest_path(subject)}/{_digest_path(digest)}/link"


def pulled(name: str, digest: Digest) -> str:
    return f"{REPOSITORIES}/{name}/_pulled/{_digest_path(digest)}"


def pulls(name: str, algorithm: str) -> str:
    return f"{REPOSITORIES}/{name}/{PULLED}/{algorithm}"


def pulled_since(name: str) -> str:
    return f"{REPOSITORIES}/{name}/_pulled/since"


def revisions(name: str, algorithm: str) -> str:
    return f"{REPOSITORIES}/{name}/{REVISIONS}/{algorithm}"


def layers(name: str, algorithm: str) -> str:
    return f"{REPOSITORIES}/{name}/{LAYERS}/{algorithm}"


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


def is_content(key: str) -> bool:
    """Whether garbage may lie at `key`: data, and links of manifests and layers."""
    return key.startswith(BLOBS) or link_of(key) is not None


def lists_referrers(key: str) -> bool:
    """Whether `key` is the directory of a subject's referrers that have digests of one algorithm."""
    return key.startswith(REPOSITORIES) and key.split("/")[-4:-3] == ["_referrers"]


def link_of(key: str) -> tuple[str, str, Digest] | None:
    """The repository, `MANIFESTS` or `LAYERS`, and the digest, if `key` is a link to a manifest or layer of it."""
    match key.removeprefix(f"{REPOSITORIES}/").split("/"):
        case [*name, "_manifests", "revisions", algorithm, encoded, "link"]:
            kind = MANIFESTS
        case [*name, "_layers", algorithm, encoded, "link"]:
            kind = LAYERS
        case _:
            return None
    try:
        return "/".join(name), kind, Digest.parse(f"{algorithm}:{encoded}")
    except InvalidDigestError:
        return None


def blob_of(key: str) -> Digest | None:
    """Whose data lies at `key`, or None: the inverse of `blob_data`."""
    match key.removeprefix(f"{BLOBS}/").split("/"):
        case [algorithm, _, encoded, "data"] if key.startswith(BLOBS):
            try:
                digest = Digest.parse(f"{algorithm}:{encoded}")
            except InvalidDigestError:
                return None
            return digest if blob_data(digest) == key else None
    return None
