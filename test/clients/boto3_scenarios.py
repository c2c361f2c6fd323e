"""boto3 scenarios. The endpoint and credentials come from the AWS_* variables; prints one JSON line per scenario."""

import base64
import hashlib
import io
import json
import os
import sys
import time
import traceback
import uuid

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024 * 1024

s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=120))
scenarios = []


def scenario(name):
    def register(body):
        scenarios.append((name, body))
        return body

    return register


def new_bucket():
    name = f"boto3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def read(bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def expect_error(codes, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        assert code in codes, f"{code}, expected one of {codes}"
        return
    raise AssertionError(f"no error, expected one of {codes}")


def checksum_scenario(algorithm):
    @scenario(f"put and get with {algorithm}")
    def run():
        bucket = new_bucket()
        for size in (0, 1, 5000, 3 * MIB):
            body = os.urandom(size)
            put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
            got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
            assert got["Body"].read() == body
            field = f"Checksum{algorithm}"
            assert got[field] == put[field], (got.get(field), put.get(field))


for each in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
    if each in ("CRC32C", "CRC64NVME"):
        try:
            import awscrt  # noqa: F401  botocore computes these two with it
        except ImportError:
            print(json.dumps({"name": f"put and get with {each}", "skipped": "awscrt is not installed"}))
            continue
    checksum_scenario(each)


@scenario("a wrong checksum is refused")
def wrong_checksum():
    bucket = new_bucket()
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    expect_error(("BadDigest", "InvalidRequest"), s3.put_object, Bucket=bucket, Key="k", Body=b"body", ChecksumSHA256=wrong)
    wrong_md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    expect_error(("BadDigest",), s3.put_object, Bucket=bucket, Key="k", Body=b"body", ContentMD5=wrong_md5)
    expect_error(("NoSuchKey",), s3.get_object, Bucket=bucket, Key="k")


@scenario("ETag of a plain PUT is its MD5")
def etag():
    bucket = new_bucket()
    body = os.urandom(100_000)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', put["ETag"]


@scenario("multipart by the transfer manager")
def multipart():
    bucket = new_bucket()
    body = os.urandom(33 * MIB + 5)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", Config=config)
    out = io.BytesIO()
    s3.download_fileobj(bucket, "big", out, Config=config)
    assert out.getvalue() == body
    assert s3.get_object(Bucket=bucket, Key="big", PartNumber=2)["ContentLength"] == 5 * MIB
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=config)
    assert read(bucket, "copy") == body


@scenario("If-None-Match: * on PUT")
def if_none_match():
    bucket = new_bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")
    expect_error(("PreconditionFailed",), s3.put_object, Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")
    assert read(bucket, "k") == b"first"


@scenario("If-Match on PUT and GET")
def if_match():
    bucket = new_bucket()
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"second", IfMatch=first)["ETag"]
    expect_error(("PreconditionFailed",), s3.put_object, Bucket=bucket, Key="k", Body=b"third", IfMatch=first)
    assert read(bucket, "k", IfMatch=second) == b"second"
    expect_error(("PreconditionFailed",), s3.get_object, Bucket=bucket, Key="k", IfMatch=first)
    expect_error(("304",), s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=second)


@scenario("SSE-S3")
def sse_s3():
    bucket = new_bucket()
    for size in (10, 2 * MIB):
        body = os.urandom(size)
        assert s3.put_object(Bucket=bucket, Key="k", Body=body, ServerSideEncryption="AES256")["ServerSideEncryption"] == "AES256"
        got = s3.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == body
        assert got["ServerSideEncryption"] == "AES256"


@scenario("SSE-C")
def sse_c():
    bucket = new_bucket()
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}
    for size in (10, 2 * MIB):
        body = os.urandom(size)
        s3.put_object(Bucket=bucket, Key="k", Body=body, **key)
        assert read(bucket, "k", **key) == body
        assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=3-7", **key)["Body"].read() == body[3:8]
        expect_error(("InvalidRequest", "400"), s3.get_object, Bucket=bucket, Key="k")
        expect_error(("AccessDenied", "InvalidRequest", "403"), s3.get_object, Bucket=bucket, Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey=os.urandom(32))


@scenario("pagination")
def pagination():
    bucket = new_bucket()
    keys = sorted(f"{i % 7}/{i:04}" for i in range(250))
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 33})
        assert [o["Key"] for page in pages for o in page.get("Contents", [])] == keys
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2})
    assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == [f"{i}/" for i in range(7)]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, StartAfter="3/", Prefix="3/")["Contents"]] == [k for k in keys if k.startswith("3/")]


ODD_KEYS = [
    "ünïcödé/日本語/🗿", "a b", "a+b", "a%20b", "a%2Fb", "a&b=c?d#e", "..", "./.", "a/../b", "//double//", "/lead", "trail/", "tab\there",
    "quote\"'<>&", "\\back", "~!@$^*()_-,.;:[]{}|", "x" * 1024, "é", "e\u0301", "null", "undefined", "__proto__",
]  # fmt: skip


@scenario("unicode and odd keys")
def odd_keys():
    bucket = new_bucket()
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        assert read(bucket, key) == key.encode(), key
    listed = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in page["Contents"]]
    assert listed == sorted(ODD_KEYS, key=str.encode), listed
    failed = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ODD_KEYS]}).get("Errors")
    assert not failed, failed
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@scenario("user metadata and content headers")
def metadata():
    bucket = new_bucket()
    headers = {"ContentType": "text/plain; charset=utf-8", "CacheControl": "max-age=60", "ContentDisposition": 'attachment; filename="a.txt"', "ContentLanguage": "de", "ContentEncoding": "identity"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"colour": "blue", "two-words": "a b"}, **headers)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {"colour": "blue", "two-words": "a b"}, head["Metadata"]
    for name, value in headers.items():
        assert head[name] == value, (name, head.get(name))
    assert s3.get_object(Bucket=bucket, Key="k", ResponseContentType="image/png")["ContentType"] == "image/png"


@scenario("presigned GET and PUT")
def presigned():
    import urllib.request

    bucket = new_bucket()
    body = os.urandom(5000)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k ü"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT")).read()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k ü"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == body


def main():
    for name, body in scenarios:
        result = {"name": name}
        started = time.monotonic()
        try:
            body()
        except Exception:
            result["error"] = traceback.format_exc()
        result["seconds"] = time.monotonic() - started
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
