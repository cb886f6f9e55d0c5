"""What a store's client is told: the user's options, over what the user's environment says, over sensible limits."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["client_options"]

_CLIENT = {
    "timeout": timedelta(minutes=10),
    "read_timeout": timedelta(seconds=60),
    "connect_timeout": timedelta(seconds=10),
}
"""A large part over a slow line takes minutes; an answer that stands still for one is asked for again."""

_RETRY = {
    "max_retries": 10,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
    "retry_timeout": timedelta(minutes=2),
}


def client_options(scheme: str, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments for the client of a store with such a scheme. Options are those of obstore's store for it."""
    given = dict(options)
    client = {**_CLIENT, **given.pop("client_options", {})}
    retry = {**_RETRY, **given.pop("retry_config", {})}
    if scheme in ("s3", "s3a"):
        given = {**_s3(given), **given}
    endpoint = next((given[key] for key in _ENDPOINTS if given.get(key)), None) or _endpoint_of_environment(scheme)
    if endpoint is not None and str(endpoint).startswith("http://"):
        client.setdefault("allow_http", True)  # whoever names such an endpoint has said so
    return {**given, "client_options": client, "retry_config": retry}


_ENDPOINTS = (
    "endpoint",
    "endpoint_url",
    "aws_endpoint",
    "aws_endpoint_url",
    "azure_endpoint",
    "google_base_url",
    "base_url",
)


def _endpoint_of_environment(scheme: str) -> str | None:
    names = (
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if scheme.startswith("s3") else ("AZURE_ENDPOINT",)
    )
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _s3(given: dict[str, Any]) -> dict[str, Any]:
    """Credentials and region as boto3 finds them, where neither the options nor the environment name them: the client
    itself doesn't read the user's files."""
    named = any("access_key" in key or "credential" in key or "skip_signature" in key for key in given)
    if named or os.environ.get("AWS_ACCESS_KEY_ID") or not _has_profile() or find_spec("boto3") is None:
        return {}
    from obstore.auth.boto3 import Boto3CredentialProvider

    return {"credential_provider": Boto3CredentialProvider()}


def _has_profile() -> bool:
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return bool(os.environ.get("AWS_PROFILE")) or any(Path(file).expanduser().exists() for file in files)
