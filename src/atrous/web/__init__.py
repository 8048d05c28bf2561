"""The page and the HTTP interface of `atrous serve`; needs the extra `web`."""

from .._quiet_imports import disable_telemetry

# Before any module of this package imports gradio, which imports huggingface_hub.
disable_telemetry("gradio", "huggingface_hub")
