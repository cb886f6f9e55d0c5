"""What a store's client is told: the user's options, over what the user's environment says, over sensible limits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    """The arguments for the client of a store with such a scheme. Options are those of obstore's store for it.

    ValueError for an endpoint that is no URL, of which the client would make a panic, and for what is no dictionary."""
    given = dict(options)
    client = {**_CLIENT, **_group(given, "client_options")}
    retry = {**_RETRY, **_group(given, "retry_config")}
    if scheme in ("s3", "s3a"):
        given = {**_s3(given), **given}
    endpoints = {f"the storage option {key!r}": value for key, value in given.items() if _ENDPOINT.search(key)}
    for source, endpoint in (endpoints or _endpoints_of_environment(scheme)).items():
        if isinstance(endpoint, str):
            _check_endpoint(source, endpoint)
            if endpoint.lower().startswith("http://"):
                client.setdefault("allow_http", True)  # whoever names such an endpoint has said so
    return {**given, "client_options": client, "retry_config": retry}


def _group(given: dict[str, Any], name: str) -> dict[str, Any]:
    """The options of this name, which is no option any more."""
    found = given.pop(name, None)
    if found is not None and not isinstance(found, Mapping):
        raise ValueError(f"the storage option {name!r} must be a dictionary of options, not of type {_type(found)}")
    return dict(found or {})


def _type(value: object) -> str:
    return type(value).__name__


_ENDPOINT = re.compile(r"(?<!fabric_)endpoint|base_url", re.IGNORECASE)
"""Options that name a server; Azure's `use_fabric_endpoint` doesn't."""


def _endpoints_of_environment(scheme: str) -> dict[str, str]:
    """Of the variables that the client reads, the first."""
    names = (
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if scheme.startswith("s3") else ("AZURE_ENDPOINT",)
    )
    return dict([(f"the variable {name}", os.environ[name]) for name in names if os.environ.get(name)][:1])


def _check_endpoint(source: str, endpoint: str) -> None:
    """ValueError unless it is the URL of a server. What it says isn't shown: it may hold a password."""
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or of an address of IPv6
        good = False
    if not good or any(letter.isspace() for letter in endpoint):
        raise ValueError(f"{source} is no URL: it must be https:// or http://, a host and, where it needs one, a port")


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
