"""Segmenters in folders and on the Hugging Face hub."""

import os
from pathlib import Path
from typing import Any, Self

from ..backends import Engine
from ..crf.kernels import Kernel
from ..data.metadata import CrfParameters
from ..errors import InputError
from .config import SavedSettings


class Pretrained:
    """Saving and loading, for `Segmenter`."""

    engine: Engine
    crf: CrfParameters | tuple[Kernel, ...] | None
    max_side: int
    min_region: int | None
    max_crf_pixels: int | None

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **options: Any,
    ) -> Self:
        """Load a segmenter from a folder or from the Hugging Face hub.

        Parameters
        ----------
        model : path or "organization/name"
            A local folder is loaded without network access.
        revision : str, optional
            Branch, tag or commit on the hub.
        token, cache_dir, force_download, local_files_only
            Arguments of huggingface_hub.
        **options
            Arguments of `Segmenter`. Default of crf, max_side, min_region and max_crf_pixels: the saved values.

        Raises
        ------
        InputError
            If the model does not exist, or is not a model.
        MissingExtra
            If the model is not local and huggingface_hub is not installed.

        Examples
        --------
        >>> segmenter = Segmenter.from_pretrained("organization/name", device="cuda")  # doctest: +SKIP
        """
        folder = Path(model)
        if folder.is_file():
            raise InputError(f"{folder}: expected a folder, got a file; use Segmenter({os.fspath(model)!r})")
        if not folder.is_dir():
            if _is_path(os.fspath(model)):
                raise InputError(
                    f"{folder}: expected a folder of save_pretrained, or organization/name; no such folder"
                )
            from .hub import download

            folder = download(
                os.fspath(model),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        if (saved := SavedSettings.read(folder)) is not None:
            names = ("crf", "max_side", "min_region", "max_crf_pixels")
            options = {name: getattr(saved, name) for name in names} | options
        return cls(folder, **options)  # type: ignore[call-arg]  # the arguments of Segmenter

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        license: str | None = None,
        scores: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the model, its settings and a model card.

        Writes `model.onnx`, or the weights `model.safetensors` of a PyTorch network, `config.json` and, unless it
        exists, `README.md`.

        Parameters
        ----------
        folder : path
            Created if it does not exist.
        license : str, optional
            License identifier for the card, such as "mit" or "cc-by-4.0".
        scores : path, optional
            File of `atrous evaluate --json` for the card.

        Raises
        ------
        InputError
            If the engine is of another kind, the CRF has custom kernels, or `scores` is not a score file.
        MissingExtra
            If huggingface_hub is not installed.
        """
        from .hub import save

        save(Path(folder), self.engine, self._settings(), license=license, scores=scores)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        scores: str | os.PathLike[str] | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload a segmenter of atrous",
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload the output of `save_pretrained` to the Hugging Face hub; the repository is created if necessary.

        Parameters
        ----------
        repo_id : str
            "organization/name".
        license, scores
            See `save_pretrained`.
        private, token, commit_message, branch, create_pr
            Arguments of huggingface_hub.

        Returns
        -------
        str
            URL of the commit.

        Raises
        ------
        InputError
            See `save_pretrained`; also if the hub cannot be reached or rejects the upload.
        MissingExtra
            If huggingface_hub is not installed.
        """
        from .hub import push

        return push(
            repo_id,
            self.engine,
            self._settings(),
            license=license,
            scores=scores,
            private=private,
            token=token,
            commit_message=commit_message,
            branch=branch,
            create_pr=create_pr,
        )

    def _settings(self) -> SavedSettings:
        return SavedSettings.of(
            self.engine,
            self.crf,
            max_side=self.max_side,
            min_region=self.min_region,
            max_crf_pixels=self.max_crf_pixels,
        )


def _is_path(name: str) -> bool:
    """Return whether a name cannot be a repository of the hub."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith(("/", ".onnx"))
