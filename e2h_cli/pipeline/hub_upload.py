"""Uploads the files of a stage to the Hugging Face Hub, and says in one line what went wrong.

The Hub is that of ``HF_ENDPOINT``; the token is that of ``HF_TOKEN`` or of ``hf auth login``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError, RunError, reason_of
from e2h_cli.data.hub_data import HUB_NAME
from e2h_cli.pipeline.stage_files import RepoType

CARD = "README.md"
_HINTS = {
    401: "the Hub does not know this token; log in with: hf auth login, or set HF_TOKEN",
    403: "this token may not write there; it needs write access to the owner's repositories",
    404: "there is no such owner or repository, or the token does not see it",
    409: "it was changed at the same time; try again",
    413: "a file is larger than the Hub takes",
}


def upload(
    repo: str,
    repo_type: RepoType,
    files: Mapping[str, Path],
    card: str,
    message: str,
    *,
    private: bool,
    revision: str | None,
) -> str:
    """Create a repository if there is none, and commit the files and the card; returns its URL.

    Args:
        repo: OWNER/NAME, or NAME of the user's own.
        repo_type: "model" or "dataset".
        files: name in the repository -> file.
        card: text of its README.md.
        message: of the commit.
        private: whether a new repository can be seen by its owner alone.
        revision: a branch, created if there is none; the main one if None.

    Raises:
        InputError: no such name, or no token.
        RunError: the Hub is not reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    check_name(repo)
    if get_token() is None:
        raise InputError("no token for the Hub", hint="log in with: hf auth login, or set HF_TOKEN")
    if not console.is_terminal:
        disable_progress_bars()
    api = HfApi()
    with _errors_in_one_line(repo, api.endpoint):
        made = api.create_repo(repo, repo_type=repo_type, private=private or None, exist_ok=True)
        if revision is not None:
            api.create_branch(made.repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        additions = [CommitOperationAdd(CARD, card.encode())]
        additions += [CommitOperationAdd(name, str(file)) for name, file in files.items()]
        api.create_commit(
            made.repo_id,
            operations=additions,
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
        )
    return str(made)


def check_name(repo: str) -> None:
    """Raise InputError for what is no name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(
            f"{repo!r} is no name of a repository", hint="as OWNER/NAME, of letters, digits, - _ ."
        ) from error


def license_of(base: str, *, ask_hub: bool) -> str:
    """The licence that the card of a model names; empty if it is not known.

    Args:
        base: a folder or a name on the Hub.
        ask_hub: ask the Hub if the card is not in the cache.
    """
    from huggingface_hub import HfApi, ModelCard, try_to_load_from_cache

    with contextlib.suppress(Exception):  # a card may hold anything, and is not needed
        if HUB_NAME.fullmatch(base):
            card = try_to_load_from_cache(base, CARD)
            if isinstance(card, str):
                return str(ModelCard.load(card).data.license or "")
            if ask_hub:
                data = HfApi().model_info(base, timeout=10).card_data
                return str(data.license or "") if data else ""
        elif (Path(base) / CARD).is_file():
            return str(ModelCard.load(Path(base) / CARD).data.license or "")
    return ""


@contextlib.contextmanager
def _errors_in_one_line(repo: str, endpoint: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise RunError("offline: HF_HUB_OFFLINE is set", where=repo, hint="unset it") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = error.server_message or reason_of(error)
        raise RunError(
            f"the Hub answered {status}: {reason_of(Exception(said))}",
            where=repo,
            hint=_HINTS.get(status, "try again later"),
        ) from error
    except Exception as error:
        # The library raises what its transports raise: httpx, hf_xet, the readers of answers.
        raise RunError(
            f"cannot upload to {endpoint}: {reason_of(error)}",
            where=repo,
            hint="the same command tries again; what is uploaded already is not sent twice",
        ) from error
