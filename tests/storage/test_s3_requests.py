"""What the s3 driver says to a store: signatures, attributes of objects, the host it names."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.servers.certificate import certificate
from tests.servers.s3 import MIB, Asked, Store, standing

from lading.registry.ports import PathNotFoundError, StorageError
from lading.storage.s3 import Options, S3Storage, direct
from lading.storage.s3 import bucket as s3_bucket
from lading.storage.s3.reader import S3Reader

KEY = "/docker/registry/v2/blobs/sha256/aa/data"
SESSION = "/docker/registry/v2/repositories/app/_uploads/1/data"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with standing() as made:
        yield made


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Nothing of this machine's; the SDK's session keeps credentials, so each test has one of its own."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "CA_BUNDLE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3_bucket._session.cache_clear()
    return monkeypatch.setenv


def options(store: Store | None = None, **more: object) -> Options:
    given: dict[str, object] = {"bucket": "bucket", "accesskey": "key", "secretkey": "secret"}
    if store is not None:
        given |= {"endpoint": store.host, "pathstyle": True, "secure": False}
    return Options(**(given | more))  # type: ignore[arg-type]


async def written(chosen: Options) -> None:
    """A small object, one of two parts that is copied, one that is copied in parts."""
    storage = S3Storage(chosen, "_uploads")
    try:
        await storage.put(KEY, b"content")
        for size in (6 * MIB, 12 * MIB):
            writer = await storage.writer(SESSION, append=True)
            await writer.write([bytes(size)])
            await writer.commit(KEY)
    finally:
        await storage.close()


MAKING = {"PUT", "POST uploads", "copy PUT"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"acl": "bucket-owner-full-control"}, {"x-amz-acl": "bucket-owner-full-control"}),
        ({"storageclass": "STANDARD_IA"}, {"x-amz-storage-class": "STANDARD_IA"}),
        ({"encrypt": True}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"encrypt": True, "keyid": "k1"},
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k1"},
        ),
        ({"keyid": "k1"}, {}),
    ],
)
async def test_attributes_of_each_object_that_is_made(
    given: dict[str, object], sent: dict[str, str], store: Store
) -> None:
    await written(options(store, chunksize=5 * MIB, copythreshold=8 * MIB, copysize=5 * MIB, **given))
    making = [asked for asked in store.asked if asked.operation in MAKING and "~" not in asked.path]
    assert {asked.operation for asked in making} == MAKING
    watched = ("x-amz-acl", "x-amz-storage-class", "x-amz-server-side")
    for asked in making:
        found = {name: value for name, value in asked.headers.items() if name.startswith(watched)}
        assert found == sent, asked.operation
        assert asked.headers["content-type"] == "application/octet-stream"
    ranges = [a.headers["x-amz-copy-source-range"] for a in store.asked if a.operation.startswith("copy PUT p")]
    bounds = [(0, 5 * MIB), (5 * MIB, 10 * MIB), (10 * MIB, 12 * MIB)]
    assert sorted(ranges) == sorted(f"bytes={first}-{end - 1}" for first, end in bounds)


async def test_path_style_and_what_the_client_calls_itself(store: Store) -> None:
    await written(options(store, rootdirectory="/root", useragent="mine/1"))
    put = store.asked[0]
    assert put.path == f"/bucket/root{KEY}"
    assert "mine/1" in put.headers["user-agent"]
    assert "trailer" not in str(put.headers.get("x-amz-content-sha256", "")).lower()


async def test_static_credentials(store: Store) -> None:
    await written(options(store, sessiontoken="a token", region="eu-west-1"))
    assert "Credential=key/" in store.asked[0].headers["authorization"]
    assert "/eu-west-1/s3/" in store.asked[0].headers["authorization"]
    assert store.asked[0].headers["x-amz-security-token"] == "a token"
    store.asked.clear()
    await written(options(store, v4=False))
    assert store.asked[0].headers["authorization"].startswith("AWS key:")


async def test_credentials_of_the_instance(store: Store, surroundings: Callable[[str, str], None]) -> None:
    surroundings("AWS_EC2_METADATA_SERVICE_ENDPOINT", store.host)
    await written(options(store, accesskey="", secretkey=""))
    assert "Credential=instance/" in store.asked[0].headers["authorization"]
    assert store.asked[0].headers["x-amz-security-token"] == "of the instance"


async def test_an_instance_that_has_no_credentials_yet(
    store: Store, surroundings: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("lading.storage.s3.bucket.time.monotonic", lambda: now[0])
    surroundings("AWS_EC2_METADATA_SERVICE_ENDPOINT", store.host)
    store.bare = True
    storage = S3Storage(options(store, accesskey="", secretkey=""))
    try:
        await storage.connect()
        store.bare = False
        # Each request would wait for who does not answer.
        with pytest.raises(StorageError, match="credentials"):
            await storage.put(KEY, b"")
        now[0] += 6
        await storage.put(KEY, b"")
    finally:
        await storage.close()
    assert "Credential=instance/" in store.asked[0].headers["authorization"]


async def test_credentials_of_a_web_identity(
    store: Store, surroundings: Callable[[str, str], None], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("who I am")
    surroundings("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    surroundings("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/registry")
    surroundings("AWS_ENDPOINT_URL_STS", f"{store.host}/sts")
    await written(options(store, accesskey="", secretkey=""))
    assert store.tokens == ["who I am"]
    assert "Credential=identity/" in store.asked[0].headers["authorization"]
    assert store.asked[0].headers["x-amz-security-token"] == "of the identity"


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({"region": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn"),
        ({"region": "xx-new-7"}, "https://bucket.s3.xx-new-7.amazonaws.com"),
        ({"region": "eu-west-1", "secure": False}, "http://bucket.s3.eu-west-1.amazonaws.com"),
        ({"region": "eu-west-1", "pathstyle": True}, "https://s3.eu-west-1.amazonaws.com"),
        ({"region": "eu-west-1", "accelerate": True}, "https://bucket.s3-accelerate.amazonaws.com"),
        ({"region": "eu-west-1", "dualstack": True}, "https://bucket.s3.dualstack.eu-west-1.amazonaws.com"),
        (
            {"region": "eu-west-1", "dualstack": True, "accelerate": True},
            "https://bucket.s3-accelerate.dualstack.amazonaws.com",
        ),
        ({"region": "us-east-2", "fips": True}, "https://bucket.s3-fips.us-east-2.amazonaws.com"),
        ({"endpoint": "http://store:9000", "pathstyle": True}, "http://store:9000"),
        (
            {"endpoint": "http://store:9000", "redirectendpoint": "https://cdn", "pathstyle": True},
            "https://cdn",
        ),
    ],
)
async def test_the_host_of_a_redirect_is_that_of_all_requests(given: dict[str, object], host: str) -> None:
    storage = S3Storage(options(**given))
    try:
        url = await storage.redirect(KEY, "GET")
    finally:
        await storage.close()
    assert url is not None
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}" == host
    assert parts.path == f"/bucket{KEY}" if given.get("pathstyle") else parts.path == KEY
    assert "X-Amz-Expires=1200" in parts.query


async def test_each_request_is_a_line_of_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await written(options(store))
    assert not [line for line in caplog.messages if line.startswith("s3: ")]
    await written(options(store, logs=True))
    assert [line for line in caplog.messages if line.startswith(f"s3: put_object of {KEY}: 200, ")]
    assert "secret" not in caplog.text


NAME = f"root{KEY} +~"
EVERY = {"acl": "private", "storageclass": "STANDARD_IA", "encrypt": True, "keyid": "k1", "sessiontoken": "t"}
OPERATIONS: list[tuple[str, dict[str, object]]] = [
    ("get_object", {"Key": NAME}),
    ("get_object", {"Key": NAME, "Range": "bytes=5-", "IfMatch": '"e"'}),
    ("head_object", {"Key": f"{NAME}~lock"}),
    ("put_object", {"Key": NAME, "Body": b"content", **options(None, **EVERY).attributes}),
    ("put_object", {"Key": NAME, "Body": b"", "IfNoneMatch": "*"}),
    ("upload_part", {"Key": NAME, "Body": b"part", "PartNumber": 7, "UploadId": "an id/+="}),
    ("delete_object", {"Key": NAME}),
    ("list_objects_v2", {"Prefix": "a b/+~", "MaxKeys": 7, "StartAfter": "a b/+~c", "Delimiter": "/"}),
    ("list_objects_v2", {"Prefix": "", "ContinuationToken": "t/+="}),
    ("list_multipart_uploads", {"Prefix": "a b/+~"}),
    ("list_multipart_uploads", {"Prefix": "a", "KeyMarker": "a/ +", "UploadIdMarker": "u/+="}),
    ("create_multipart_upload", {"Key": NAME, **options(None, **EVERY).attributes}),
    ("list_parts", {"Key": NAME, "UploadId": "an id/+=", "PartNumberMarker": 7}),
    ("abort_multipart_upload", {"Key": NAME, "UploadId": "an id/+="}),
    (
        "complete_multipart_upload",
        {"Key": NAME, "UploadId": "u", "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": '"<e>&"'}] * 2}},
    ),
    ("delete_objects", {"Delete": {"Objects": [{"Key": NAME}, {"Key": "a<&>\r\n'\""}], "Quiet": True}}),
    ("copy_object", {"Key": NAME, "CopySource": f"bucket/{NAME}", "MetadataDirective": "REPLACE"}),
    ("copy_object", {"Key": NAME, "CopySource": f"bucket/{NAME}", **options(None, **EVERY).attributes}),
    (
        "upload_part_copy",
        {"Key": NAME, "UploadId": "u", "PartNumber": 7, "CopySource": NAME, "CopySourceRange": "bytes=5-8"},
    ),
]
OF_THE_SDK = {"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "user-agent", "x-amz-date", "expect"}
"""Each differs in each request, or says what sent it."""


@pytest.mark.parametrize(("operation", "arguments"), OPERATIONS)
@pytest.mark.parametrize("given", [{}, EVERY])
async def test_what_is_asked_directly_is_what_the_sdk_asks(
    operation: str,
    arguments: dict[str, object],
    given: dict[str, object],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = s3_bucket.Bucket(options(store, **given))

    async def asked() -> Asked:
        store.asked.clear()
        await bucket.call(operation, KEY, **arguments)
        return store.asked[0]

    def told(request: Asked) -> object:
        headers = {name: value for name, value in request.headers.items() if name not in OF_THE_SDK}
        query = {name: value for name, value in request.query.items() if name != "x-id"}
        return request.method, request.path, query, headers, request.body

    def signed(request: Asked) -> set[str]:
        return set(request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";"))

    try:
        directly = await asked()
        monkeypatch.setattr(direct, "_OPERATIONS", {})
        by_the_sdk = await asked()
    finally:
        await bucket.close()
    assert "amz-sdk-request" in by_the_sdk.headers
    assert "amz-sdk-request" not in directly.headers
    assert told(directly) == told(by_the_sdk)
    assert signed(directly) - OF_THE_SDK >= signed(by_the_sdk) - OF_THE_SDK


@pytest.mark.parametrize("status", [301, 403, 500, 503])
async def test_what_is_refused_directly_the_sdk_asks_again(status: int, store: Store) -> None:
    storage = S3Storage(options(store))
    store.refusals = [status]
    try:
        await storage.put(KEY, b"content")
    finally:
        await storage.close()
    assert [asked.body for asked in store.asked] == [b"content", b"content"]


async def test_what_could_not_be_deleted_is_told(store: Store) -> None:
    storage = S3Storage(options(store))
    errors = "".join(f"<Error><Key>k</Key><Code>{code}</Code></Error>" for code in ("NoSuchKey", "AccessDenied"))
    store.refusals, store.told = [200], f"<DeleteResult>{errors}</DeleteResult>"
    try:
        with pytest.raises(StorageError, match="AccessDenied: 1 objects are left"):
            await storage.delete_all([KEY, f"{KEY}2"])
    finally:
        await storage.close()
    assert ["amz-sdk-request" in asked.headers for asked in store.asked] == [False]


async def test_a_bucket_in_another_region_is_found_once(store: Store) -> None:
    store.region = "eu-west-1"
    storage = S3Storage(options(store))
    try:
        await storage.put(KEY, b"content")
        store.asked.clear()
        await storage.put(KEY, b"content")
        assert len(store.asked) == 1
    finally:
        await storage.close()


async def test_behind_a_proxy_the_sdk_asks(store: Store, surroundings: Callable[[str, str], None]) -> None:
    surroundings("http_proxy", store.host)
    surroundings("no_proxy", "")
    storage = S3Storage(options(endpoint="http://store.invalid", pathstyle=True))
    try:
        for _ in range(2):
            await storage.put(KEY, b"content")
    finally:
        await storage.close()
    assert ["amz-sdk-request" in asked.headers for asked in store.asked] == [True, True]
    assert {asked.headers["host"] for asked in store.asked} == {"store.invalid"}


@pytest.mark.parametrize(("port", "host"), [(":80", "store.invalid"), (":8080", "store.invalid:8080")])
async def test_the_host_is_named_without_a_port_that_goes_without_saying(port: str, host: str) -> None:
    bucket = s3_bucket.Bucket(options(endpoint=f"http://store.invalid{port}", pathstyle=True))
    try:
        await bucket.connect()
        assert bucket._direct is not None
        place = await bucket._direct.learn()
        assert place is not None
        assert place.name == host
    finally:
        await bucket.close()


@pytest.mark.parametrize("modified", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000+00:00"])
async def test_a_date_in_another_form(modified: str, store: Store) -> None:
    store.modified = modified
    bucket = s3_bucket.Bucket(options(store))
    try:
        answer = await bucket.call("get_object", KEY, Key=NAME)
        answer["Body"].close()
        assert answer["LastModified"] == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    finally:
        await bucket.close()


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_certificates_of_the_environment(name: str, surroundings: Callable[[str, str], None]) -> None:
    own = certificate()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own.file, own.key)
    surroundings(name, str(own.file))
    async with standing(tls) as store:
        storage = S3Storage(options(store, secure=True))
        try:
            await storage.put(KEY, b"content")
        finally:
            await storage.close()
    assert ["amz-sdk-request" in asked.headers for asked in store.asked] == [False]


async def test_what_is_not_there_is_asked_for_once(store: Store) -> None:
    bucket = s3_bucket.Bucket(options(store))
    try:
        with pytest.raises(PathNotFoundError):
            await bucket.call("head_object", KEY, Key=NAME)
        store.refusals, store.told = [404], "<Error><Code>NoSuchKey</Code></Error>"
        with pytest.raises(PathNotFoundError):
            await bucket.call("get_object", KEY, Key=NAME)
        assert len(store.asked) == 2
        store.refusals, store.told = [404, 404], "<Error><Code>NoSuchBucket</Code></Error>"
        with pytest.raises(StorageError, match="NoSuchBucket"):
            await bucket.call("get_object", KEY, Key=NAME)
    finally:
        await bucket.close()


async def test_a_url_is_signed_once_in_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1000.0]
    monkeypatch.setattr("lading.storage.s3.bucket.time.monotonic", lambda: times[0])
    storage = S3Storage(options(region="eu-west-1"))

    async def urls() -> tuple[str | None, str | None]:
        return await storage.redirect(KEY, "GET"), await storage.redirect(KEY, "HEAD")

    try:
        first = await urls()
        assert first[0] != first[1]
        times[0] += 29
        assert await urls() == first
        assert (await storage.redirect(f"{KEY}2", "GET")) not in first
        signed: list[str] = []
        real = storage._bucket._signer.generate_presigned_url
        monkeypatch.setattr(
            storage._bucket._signer,
            "generate_presigned_url",
            lambda operation, **given: signed.append(operation) or real(operation, **given),
        )
        times[0] += 2
        await urls()
        assert signed == ["get_object", "head_object"]
    finally:
        await storage.close()


async def test_what_comes_next_is_taken_while_a_part_is_sent(store: Store) -> None:
    storage = S3Storage(options(store, chunksize=5 * MIB), "_uploads")
    pieces = [bytes([number]) * MIB for number in range(8)]
    store.gate.clear()
    try:
        writer = await storage.writer(SESSION, append=True)
        async with asyncio.timeout(10):
            for piece in pieces:
                await writer.write([piece])
        assert writer.size == 8 * MIB
        store.gate.set()
        await writer.close()
    finally:
        await storage.close()
    parts = [asked.body for asked in store.asked if asked.operation == "PUT partNumber uploadId"]
    assert [len(part) for part in parts] == [5 * MIB, 3 * MIB]
    assert b"".join(parts) == b"".join(pieces)


async def test_a_part_that_could_not_be_sent_is_sent_again_at_the_end(store: Store) -> None:
    storage = S3Storage(options(store, chunksize=5 * MIB), "_uploads")
    pieces = [bytes([number]) * MIB for number in range(7)]
    try:
        writer = await storage.writer(SESSION, append=True)
        for piece in pieces[:4]:
            await writer.write([piece])
        store.gate.clear()
        await writer.write([pieces[4]])
        async with asyncio.timeout(10):
            while not any(asked.operation == "PUT partNumber uploadId" for asked in store.asked):
                await asyncio.sleep(0)
            await writer.write(pieces[5:])
        store.refusals = [403, 403]  # directly, and by the SDK
        store.gate.set()
        await writer.close()
    finally:
        await storage.close()
    parts = {asked.query["partNumber"]: asked.body for asked in store.asked if "partNumber" in asked.query}
    assert b"".join(parts[number] for number in sorted(parts)) == b"".join(pieces)


async def test_all_that_was_written_is_readable_behind_a_short_part(store: Store) -> None:
    storage = S3Storage(options(store, chunksize=6 * MIB), "_uploads")
    try:
        writer = await storage.writer(SESSION, append=True)
        await writer.write([b"a" * (5 * MIB - 1)])
        await writer.make_readable()
        store.object = b"a" * (5 * MIB - 1)
        await writer.write([b"b" * (6 * MIB - 1)])
        store.asked.clear()
        await writer.make_readable()
        await writer.close()
    finally:
        await storage.close()
    parts = {asked.query["partNumber"]: asked.body for asked in store.asked if "partNumber" in asked.query}
    assert b"".join(parts[number] for number in sorted(parts)) == b"a" * (5 * MIB - 1) + b"b" * (6 * MIB - 1)


async def test_a_store_that_sends_another_range_is_not_believed(store: Store) -> None:
    storage = S3Storage(options(store))
    store.refusals, store.told = [200, 200], "all of the object"
    reader = S3Reader(storage._bucket, KEY, {"ETag": '"e"', "ContentLength": 17}, 7)
    try:
        with pytest.raises(StorageError, match="does not send the range"):
            await reader.read(10)
    finally:
        await reader.close()
        await storage.close()


@pytest.mark.parametrize("proxy", [True, False])
async def test_who_is_silent_is_asked_twice(
    proxy: bool, store: Store, surroundings: Callable[[str, str], None]
) -> None:
    surroundings("http_proxy", store.host if proxy else "")
    surroundings("no_proxy", "")
    endpoint = "http://store.invalid" if proxy else store.host
    bucket = s3_bucket.Bucket(options(endpoint=endpoint, pathstyle=True, silence=0.2))
    store.gate.clear()
    try:
        with pytest.raises(StorageError):
            await bucket.call("upload_part", KEY, Key=NAME, Body=b"part", PartNumber=1, UploadId="u")
    finally:
        store.gate.set()
        await bucket.close()
    assert len(store.asked) == 2
