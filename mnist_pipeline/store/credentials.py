"""Whose credentials open a bucket: those of the environment, or the profile of AWS's own tools."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mnist_pipeline.errors import OutsideError, without_secrets

# Where one of these is set, obstore finds the credentials itself; so it does on machines of the
# cloud, and for Google and Azure.
_SAID = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


def profile_for(url: str) -> Any:
    """What fetches the credentials of the user's AWS profile (`~/.aws`, SSO, an assumed role).

    Returns:
        A credential provider of obstore; None if the environment speaks for itself.

    Raises:
        OutsideError: boto3, which reads profiles, is not installed, or finds nothing in it.
    """
    if not url.startswith("s3") or any(name in os.environ for name in _SAID):
        return None
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    profile = os.environ.get("AWS_PROFILE")
    if not profile and not file.is_file():
        return None
    facts: dict[str, Any] = {"profile": profile or "default", "file": str(file)}
    otherwise = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    try:
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise OutsideError(
            "AWS profiles are read by boto3, which is not installed",
            **facts,
            remedy=f"pip install 'mnist-pipeline[aws]', or {otherwise}",
        ) from None
    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as error:
        raise OutsideError(
            "the AWS profile has no credentials",
            cause=str(error),
            **facts,
            remedy=f"choose another with AWS_PROFILE, log in again, or {otherwise}",
        ) from None


def credentials_of(url: str) -> str:
    """The variables that open a bucket."""
    if url.startswith("s3"):
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE,"
    if url.startswith("gs"):
        return "GOOGLE_APPLICATION_CREDENTIALS"
    return "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"


def without_query(text: str) -> str:
    """A text whose URLs have neither passwords nor queries: these may hold a signature."""
    return re.sub(r"(://[^\s?]*)\?\S+", r"\1?…", str(without_secrets(text)))
