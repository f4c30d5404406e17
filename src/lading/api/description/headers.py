"""The headers of answers."""

from __future__ import annotations

from lading.api import response
from lading.api.description.model import Header
from lading.api.description.schemas import matching, string
from lading.oci.digest import DIGEST_PATTERN

_NAME, _VALUE = (part.decode("ascii") for part in response.API_VERSION)

API_VERSION = Header(_NAME.title(), "Says that this is a registry.", {"const": _VALUE})
LOCATION = Header("Location", "Where it is, or where to go on.", string())
RANGE = Header("Range", "The bytes that are kept so far: `0-<last>`.", matching(r"0-[0-9]+"))
UPLOAD_UUID = Header("Docker-Upload-UUID", "The id of the session.", string())
CONTENT_DIGEST = Header("Docker-Content-Digest", "The digest of the content.", matching(DIGEST_PATTERN))
CONTENT_DIGEST_MAYBE = Header("Docker-Content-Digest", "The digest of the blob.", matching(DIGEST_PATTERN), False)
ETAG = Header("ETag", "The digest in quotation marks.", string())
CACHE_CONTROL = Header("Cache-Control", "A blob never changes.", string(), always=False)
CACHE_CONTROL_ALWAYS = Header("Cache-Control", "It never changes.", string())
ACCEPT_RANGES = Header("Accept-Ranges", "Parts can be asked for.", {"const": "bytes"})
CONTENT_RANGE_MAYBE = Header("Content-Range", "Which part this is, if it is one.", string(), always=False)
LINK = Header("Link", 'The next page: `<…>; rel="next"`. There is none after the last.', string(), always=False)
OCI_SUBJECT = Header("OCI-Subject", "The manifest it refers to: its referrers are known.", string(), always=False)
OCI_TAG = Header("OCI-Tag", "A tag of the query that shows it now; a line for each.", string(), always=False)
OCI_FILTERS = Header("OCI-Filters-Applied", "By what the list was filtered.", string(), always=False)
ALLOW = Header("Allow", "The methods there are.", string())
ALLOW_IF_READ_ONLY = Header("Allow", "The methods there are, if it is read-only.", string(), always=False)
WWW_AUTHENTICATE = Header("WWW-Authenticate", "How to sign in, or where to get a token, and for what.", string())
RETRY_AFTER = Header("Retry-After", "In how many seconds to try again.", string())
