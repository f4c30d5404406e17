"""The description itself: every operation of the API, in the order of the specification.

What any operation may be answered with stands in `ANYWHERE`, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lading.api.description import headers as head
from lading.api.description.model import Answer, Header, Operation, Parameter
from lading.api.description.schemas import (
    ANY_MANIFEST,
    BYTES,
    CATALOG,
    INDEX,
    TAGS,
    TEXT,
    errors_of,
    integer,
    matching,
    string,
)
from lading.api.routes import REFERENCE_PATTERN, UPLOAD_ID_PATTERN, Endpoint
from lading.oci import errors, media
from lading.oci.digest import DIGEST_PATTERN
from lading.oci.errors import Code
from lading.oci.names import NAME_PATTERN

NAME = Parameter("name", "path", "The repository's name.", matching(NAME_PATTERN), required=True)
DIGEST = Parameter("digest", "path", "The blob's digest.", matching(DIGEST_PATTERN), required=True)
SUBJECT = Parameter("digest", "path", "The digest of the manifest referred to.", matching(DIGEST_PATTERN), True)
REFERENCE = Parameter("reference", "path", "A tag or a digest.", matching(REFERENCE_PATTERN), required=True)
UPLOAD_ID = Parameter("uuid", "path", "The id of the upload session.", matching(UPLOAD_ID_PATTERN), required=True)
STATE = Parameter(
    "_state", "query", "The session's signed state, as it stands in the last Location.", string(), required=True
)
PAGE = Parameter("n", "query", "How many entries at most.", integer(minimum=0))
LAST = Parameter("last", "query", "Answer what sorts after this entry.", string())
ACCEPT = Parameter("Accept", "header", "The media types the client knows; quality values do not count.", string())
IF_MATCH = Parameter("If-Match", "header", "Only if one of these entity tags is the content's.", string())
IF_NONE_MATCH = Parameter("If-None-Match", "header", "Only if none of these entity tags is it.", string())
RANGE = Parameter("Range", "header", "The parts that are wanted, in bytes.", string())
IF_RANGE = Parameter("If-Range", "header", "Whole unless this entity tag is still the content's.", string())
CONTENT_RANGE = Parameter("Content-Range", "header", "Where the body lies in the blob: `<first>-<last>`", string())
CONTENT_TYPE = Parameter("Content-Type", "header", "The manifest's media type.", string())
CONDITIONS = (IF_MATCH, IF_NONE_MATCH)
OCTETS = {media.OCTET_STREAM: BYTES}


def refusal(status: int, description: str, *codes: Code, headers: Iterable[Header] = ()) -> Answer:
    """An answer whose body lists errors, each with one of `codes`."""
    return Answer(status, description, tuple(headers), {media.JSON: errors_of(codes)}, codes)


ANYWHERE = (
    refusal(401, "Who asks is not known.", errors.UNAUTHORIZED, headers=(head.WWW_AUTHENTICATE,)),
    refusal(
        403,
        "Who asks may not do this; or a tag is immutable, and nobody may.",
        errors.DENIED,
        errors.TAG_IMMUTABLE,
    ),
    refusal(
        429,
        "Too many failed attempts to sign in, or too many pulls for an upstream.",
        errors.TOO_MANY_REQUESTS,
        headers=(head.RETRY_AFTER,),
    ),
    refusal(500, "The registry failed; its log tells how.", errors.UNKNOWN),
    refusal(502, "A registry that is pulled through from sent something else.", errors.UPSTREAM_WRONG),
    refusal(
        503,
        "The storage or a registry that is pulled through from cannot be reached, or a health check failed.",
        errors.UNAVAILABLE,
        errors.UPSTREAM_DOWN,
    ),
)
NOWHERE = Answer(404, "Plain text: the path has another shape.", content={"text/plain": TEXT})
"""What any operation with parameters in its path may be answered with, besides its own 404."""
MOVED = Answer(301, "The path as it should have been written.", (head.LOCATION,))
NO_METHOD = Answer(405, "There is no such method here.", (head.ALLOW,), {"text/plain": TEXT})
PULLED_THROUGH = refusal(405, "The repository is pulled through.", errors.UNSUPPORTED)
NOT_ALLOWED = replace(
    PULLED_THROUGH,
    description="The registry is read-only, or the repository is pulled through.",
    headers=(head.ALLOW_IF_READ_ONLY,),
    content={**PULLED_THROUGH.content, "text/plain": TEXT},
)
DELETES_OFF = replace(
    NOT_ALLOWED,
    description="Deletes are not enabled, or the registry is read-only, or the repository is pulled through.",
)
BAD_NAME = refusal(400, "The name or digest is not valid.", errors.NAME_INVALID, errors.DIGEST_INVALID)
NO_SPACE = refusal(507, "There is no space left for the content.", errors.STORAGE_FULL)
STALLED = refusal(408, "The body stopped coming.", errors.REQUEST_TIMEOUT)
GONE = refusal(499, "The client went away; for logs alone.", errors.CLIENT_CLOSED)
NO_BLOB = refusal(404, "The repository has no such blob.", errors.BLOB_UNKNOWN, errors.NAME_UNKNOWN)
NO_SESSION = refusal(
    404,
    "There is no such upload, or its state was not signed here.",
    errors.BLOB_UPLOAD_UNKNOWN,
    errors.BLOB_UPLOAD_STATE_INVALID,
)
CHANGED = Answer(412, "It has another digest.", (head.ETAG, head.CONTENT_DIGEST_MAYBE, head.CACHE_CONTROL))
SAME = Answer(304, "The client has it already.", (head.ETAG, head.CONTENT_DIGEST_MAYBE, head.CACHE_CONTROL))
WRONG_RANGE = refusal(416, "The body is not what comes next in this upload.", errors.RANGE_INVALID)
SESSION = (head.LOCATION, head.RANGE, head.UPLOAD_UUID)


def _both(operation: Operation) -> tuple[Operation, Operation]:
    """GET, and HEAD, which is answered the same without a body."""
    answers = tuple(
        Answer(a.status, a.description, a.headers, {kind: {} for kind in a.content}, a.codes)
        for a in operation.answers
    )
    same = (operation.endpoint, operation.summary, operation.section, operation.parameters)
    return operation, Operation(f"head{operation.id.removeprefix('get')}", "HEAD", *same, answers)


def _path_parameters(endpoint: Endpoint) -> tuple[Parameter, ...]:
    described = (operation for operation in OPERATIONS if operation.endpoint is endpoint)
    return tuple(parameter for parameter in next(described).parameters if parameter.where == "path")


BLOB_HEADERS = (head.CONTENT_DIGEST, head.ETAG, head.CACHE_CONTROL_ALWAYS, head.ACCEPT_RANGES)

START_UPLOAD = Operation(
    "startUpload",
    "POST",
    Endpoint.UPLOADS,
    "Start an upload session; or mount a blob of another repository, or store the body as a blob.",
    "end-4, end-11",
    (
        NAME,
        Parameter("mount", "query", "The digest of a blob that is stored already.", string()),
        Parameter("from", "query", "The repository that has it.", string()),
        Parameter("digest", "query", "The digest of the body, which is all of the blob.", string()),
        Parameter(
            "digest-algorithm",
            "query",
            "By what the blob will be named.",
            {"enum": ["sha256", "sha384", "sha512"]},
        ),
    ),
    (
        Answer(201, "The blob is stored.", (head.LOCATION, head.CONTENT_DIGEST)),
        Answer(202, "Send the blob to this location.", SESSION),
        refusal(
            400,
            "The name, digest or algorithm is not valid, or the body has another digest or length.",
            *(errors.NAME_INVALID, errors.DIGEST_INVALID, errors.SIZE_INVALID),
        ),
        *(STALLED, GONE, NOT_ALLOWED, NO_SPACE),
    ),
    OCTETS,
)

OPERATIONS: tuple[Operation, ...] = (
    *_both(
        Operation(
            "getBase",
            "GET",
            Endpoint.BASE,
            "Whether this is a registry, and whether the caller is known to it.",
            "end-1",
            (),
            (Answer(200, "It is.", (), {media.JSON: {"type": "object"}}),),
        )
    ),
    *_both(
        Operation(
            "getBlob",
            "GET",
            Endpoint.BLOB,
            "A blob, or parts of it.",
            "end-2, end-10",
            (NAME, DIGEST, *CONDITIONS, RANGE, IF_RANGE),
            (
                Answer(200, "The blob.", BLOB_HEADERS, OCTETS),
                Answer(
                    206,
                    "The parts asked for.",
                    (*BLOB_HEADERS, head.CONTENT_RANGE_MAYBE),
                    {**OCTETS, "multipart/byteranges": BYTES},
                ),
                SAME,
                Answer(307, "It lies at this URL for a while.", (head.LOCATION,), OCTETS),
                BAD_NAME,
                NO_BLOB,
                CHANGED,
                Answer(
                    416,
                    "None of the parts is in the blob, or the range cannot be read.",
                    (head.CONTENT_DIGEST, head.CONTENT_RANGE_MAYBE),
                    {"text/plain": TEXT},
                ),
            ),
        )
    ),
    Operation(
        "deleteBlob",
        "DELETE",
        Endpoint.BLOB,
        "Take a blob out of a repository.",
        "end-10",
        (NAME, DIGEST),
        (Answer(202, "It is no longer there."), BAD_NAME, NO_BLOB, DELETES_OFF),
    ),
    *_both(
        Operation(
            "getManifest",
            "GET",
            Endpoint.MANIFEST,
            "A manifest, as it was pushed.",
            "end-3",
            (NAME, REFERENCE, ACCEPT, *CONDITIONS),
            (
                Answer(200, "The manifest.", (head.CONTENT_DIGEST, head.ETAG), {"*/*": ANY_MANIFEST}),
                SAME,
                refusal(
                    400,
                    "The name or reference is not valid, or the manifest is none of the types the client knows.",
                    *(errors.NAME_INVALID, errors.DIGEST_INVALID, errors.TAG_INVALID, errors.MANIFEST_INVALID),
                ),
                refusal(404, "There is no such manifest.", errors.MANIFEST_UNKNOWN, errors.NAME_UNKNOWN),
                CHANGED,
            ),
        )
    ),
    Operation(
        "putManifest",
        "PUT",
        Endpoint.MANIFEST,
        "Push a manifest, and tag it.",
        "end-7",
        (
            NAME,
            REFERENCE,
            CONTENT_TYPE,
            Parameter("tag", "query", "A tag that is to show it as well.", string(), repeated=True),
        ),
        (
            Answer(
                201,
                "It is stored.",
                (head.LOCATION, head.CONTENT_DIGEST, head.OCI_SUBJECT, head.OCI_TAG),
            ),
            refusal(
                400,
                "It is not valid, or what it refers to is not there.",
                *(errors.NAME_INVALID, errors.DIGEST_INVALID, errors.TAG_INVALID, errors.MANIFEST_INVALID),
                errors.MANIFEST_BLOB_UNKNOWN,
            ),
            refusal(413, "It is larger than a manifest may be.", errors.MANIFEST_TOO_LARGE),
            refusal(414, "More tags than one request may have.", errors.TOO_MANY_TAGS),
            *(STALLED, GONE, NOT_ALLOWED, NO_SPACE),
        ),
        {"*/*": ANY_MANIFEST},
        body_required=True,
    ),
    Operation(
        "deleteManifest",
        "DELETE",
        Endpoint.MANIFEST,
        "Delete a tag; or a manifest, and all tags that show it.",
        "end-9",
        (NAME, REFERENCE),
        (
            Answer(202, "It is no longer there."),
            refusal(
                400,
                "The name or reference is not valid.",
                *(errors.NAME_INVALID, errors.DIGEST_INVALID, errors.TAG_INVALID),
            ),
            refusal(404, "There is no such manifest or tag.", errors.MANIFEST_UNKNOWN, errors.NAME_UNKNOWN),
            DELETES_OFF,
        ),
    ),
    START_UPLOAD,
    replace(
        START_UPLOAD,
        id="startAnotherUpload",
        endpoint=Endpoint.UPLOAD,
        summary="The same as without an id, for old clients; the session must be there.",
        section="",
        parameters=(NAME, UPLOAD_ID, STATE, *START_UPLOAD.parameters[1:]),
        answers=(*START_UPLOAD.answers, NO_SESSION, WRONG_RANGE),
    ),
    *_both(
        Operation(
            "getUpload",
            "GET",
            Endpoint.UPLOAD,
            "How far an upload has come.",
            "end-13",
            (NAME, UPLOAD_ID, Parameter("_state", "query", "The session's signed state.", string())),
            (Answer(204, "So far.", SESSION), BAD_NAME, NO_SESSION, PULLED_THROUGH),
        )
    ),
    Operation(
        "continueUpload",
        "PATCH",
        Endpoint.UPLOAD,
        "Send more of the blob.",
        "end-5",
        (NAME, UPLOAD_ID, STATE, CONTENT_RANGE),
        (
            Answer(202, "It is kept.", SESSION),
            refusal(400, "The name or length is not valid.", errors.NAME_INVALID, errors.SIZE_INVALID),
            NO_SESSION,
            refusal(415, "The body is no octet stream.", errors.BLOB_UPLOAD_MEDIA_TYPE),
            *(STALLED, WRONG_RANGE, GONE, NOT_ALLOWED, NO_SPACE),
        ),
        OCTETS,
        body_required=True,
    ),
    Operation(
        "finishUpload",
        "PUT",
        Endpoint.UPLOAD,
        "Send the last of the blob, and name it by its digest.",
        "end-6",
        (
            NAME,
            UPLOAD_ID,
            STATE,
            Parameter("digest", "query", "The digest of the whole blob.", matching(DIGEST_PATTERN), required=True),
            CONTENT_RANGE,
        ),
        (
            Answer(201, "The blob is stored.", (head.LOCATION, head.CONTENT_DIGEST)),
            refusal(
                400,
                "The digest is missing, not valid or another one, or the length is not what was told.",
                *(errors.NAME_INVALID, errors.DIGEST_INVALID, errors.SIZE_INVALID),
            ),
            NO_SESSION,
            *(STALLED, WRONG_RANGE, GONE, NOT_ALLOWED, NO_SPACE),
        ),
        OCTETS,
    ),
    Operation(
        "cancelUpload",
        "DELETE",
        Endpoint.UPLOAD,
        "Give an upload up.",
        "end-14",
        (NAME, UPLOAD_ID, STATE),
        (
            Answer(204, "It is forgotten.", (head.UPLOAD_UUID,)),
            refusal(400, "The name is not valid.", errors.NAME_INVALID),
            NO_SESSION,
            WRONG_RANGE,
            NOT_ALLOWED,
        ),
    ),
    *_both(
        Operation(
            "getTags",
            "GET",
            Endpoint.TAGS,
            "The tags of a repository, in byte order.",
            "end-8",
            (NAME, PAGE, LAST),
            (
                Answer(200, "A page of them.", (head.LINK,), {media.JSON: TAGS}),
                refusal(
                    400, "The name or `n` is not valid.", errors.NAME_INVALID, errors.PAGINATION_NUMBER_INVALID
                ),
                refusal(404, "There is no such repository.", errors.NAME_UNKNOWN),
            ),
        )
    ),
    *_both(
        Operation(
            "getReferrers",
            "GET",
            Endpoint.REFERRERS,
            "The manifests that refer to another.",
            "end-12",
            (
                NAME,
                SUBJECT,
                Parameter("artifactType", "query", "Only those of this artifact type.", string()),
                PAGE,
                LAST,
            ),
            (
                Answer(200, "A page of them.", (head.OCI_FILTERS, head.LINK), {media.OCI_INDEX: INDEX}),
                refusal(
                    400,
                    "The name, digest or `n` is not valid.",
                    *(errors.NAME_INVALID, errors.DIGEST_INVALID, errors.PAGINATION_NUMBER_INVALID),
                ),
            ),
        )
    ),
    Operation(
        "deleteRepository",
        "DELETE",
        Endpoint.REPOSITORY,
        "Delete a repository with all that it has: an extension, off unless configured.",
        "",
        (NAME,),
        (
            Answer(202, "It is no longer there."),
            refusal(400, "The name is not valid.", errors.NAME_INVALID),
            refusal(404, "There is no such repository.", errors.NAME_UNKNOWN),
            DELETES_OFF,
        ),
    ),
    *_both(
        Operation(
            "getCatalog",
            "GET",
            Endpoint.CATALOG,
            "The repositories, in byte order.",
            "",
            (PAGE, LAST),
            (
                Answer(200, "A page of them.", (head.LINK,), {media.JSON: CATALOG}),
                refusal(400, "`n` is not valid, or too large.", errors.PAGINATION_NUMBER_INVALID),
            ),
        )
    ),
)

OPTIONS: tuple[Operation, ...] = tuple(
    Operation(
        f"options{endpoint.name.title()}",
        "OPTIONS",
        endpoint,
        "Which methods there are.",
        "",
        _path_parameters(endpoint),
        (Answer(200, "These.", (head.ALLOW,)),),
    )
    for endpoint in Endpoint
    if endpoint is not Endpoint.BASE
)
"""The same of every path; any other method is answered with `NO_METHOD`. The base is there for every method."""
