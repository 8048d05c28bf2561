"""The page: drop a photo, see what the network says and what the CRF makes of it."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..crf import PRESETS
from .desk import EXAMPLES, NAMES, OWN, Desk, defaults

# name: (what it is called, what it means, lowest, highest, step)
_SLIDERS: dict[str, tuple[str, str, float, float, float]] = {
    "weight": ("Color weight", "Pull of pixels of like color", 0, 20, 0.1),
    "sxy": ("Reach", "sxy, pixels of a 513-pixel photo", 1, 200, 1),
    "srgb": ("Color tolerance", "srgb, gray values", 1, 60, 0.5),
    "spatial_weight": ("Smoothing weight", "Pull of the nearest pixels", 0, 20, 0.1),
    "spatial_sxy": ("Smoothing reach", "sxy, pixels", 0.5, 20, 0.5),
    "iterations": ("Steps", "Of mean field inference", 0, 20, 1),
}


def create_page(desk: Desk, root: str) -> gr.Blocks:
    """Lay out the page.

    Parameters
    ----------
    desk : Desk
        What its components call.
    root : str
        Path before the server's own, behind a proxy.
    """
    with gr.Blocks(title="atrous: photos to masks", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            "<header class=top><h1>atrous</h1><p>Photos to masks, sharp at the edges.</p>"
            f"<a href='{escape(root)}/api/docs'>HTTP interface</a></header>",
            padding=False,
        )
        with gr.Tab("Segment"):
            _segment_tab(desk)
        with gr.Tab("Edit"):
            _edit_tab(desk)
        page.unload(desk.leave)
    # All wait in one queue, this server's; gradio's only passes on.
    page.queue(default_concurrency_limit=None, max_size=4 * (desk.work.limit + desk.work.workers), api_open=False)
    # It looks a thousand times a second whether anybody waits there, which would keep a core busy with nothing.
    if (passing := getattr(page, "_queue", None)) is not None:
        passing.sleep_when_free = 0.02
    return page


def theme() -> gr.themes.Base:
    """Return the page's colors and the system's own fonts."""
    return gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_padding="0",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="*body_text_color_subdued",
        block_label_text_color_dark="*body_text_color_subdued",
        block_label_text_weight="500",
        block_border_width="1px",
        block_shadow="none",
        block_radius="10px",
    )


def _segment_tab(desk: Desk) -> None:
    with gr.Row(elem_classes="desk"):
        with gr.Column(elem_classes="photo"):
            photo = _photo("Photo")
            examples = gr.Dataset(
                components=[gr.Image(type="filepath", image_mode=None, render=False, label="Example")],
                samples=[[str(desk.folder / "examples" / name)] for name in EXAMPLES],
                sample_labels=None,
                type="index",
                label="Or take one of these",
                layout="gallery",
            )
        shown = _result("Drop a photo, or take an example.", "The network's labels and the CRF's appear here.")
        with gr.Column(elem_classes="controls"):
            sliders, preset = _controls(desk, open_=True)
    inputs = [photo, *sliders]
    heavy = _heavy(shown)
    photo.upload(desk.segment, inputs, **heavy)
    photo.clear(desk.segment, inputs, **heavy)
    examples.click(desk.example, [examples, *sliders], **{**heavy, "outputs": [photo, *shown]})
    _rerun(desk, desk.segment, inputs, sliders, preset, heavy)


def _edit_tab(desk: Desk) -> None:
    gr.HTML(
        "<p class=tell>Sharpen the output of any other network, or a mask drawn by hand: an index PNG (pixel values are"
        " label ids, 255 unknown), or probabilities (C, H, W) or (H, W, C) saved by <code>numpy.save</code>.</p>",
        padding=False,
    )
    with gr.Row(elem_classes="desk"):
        with gr.Column(elem_classes="photo"):
            photo = _photo("Photo")
            given = gr.File(label="Its mask (.png) or probabilities (.npy)", file_types=[".png", ".npy"], height=160)
            example = gr.Button("Take the example: a rough mask", size="sm")
        shown = _result("Drop a photo and its mask.", "The mask before and after the CRF appears here.")
        with gr.Column(elem_classes="controls"):
            confidence = gr.Slider(0.5, 0.99, 0.7, step=0.01, label="Confidence", info="Of the mask's labels (.png)")
            sliders, preset = _controls(desk, open_=False)
    inputs = [photo, given, confidence, *sliders]
    heavy = _heavy(shown)
    for component in (photo, given):
        component.upload(desk.edit, inputs, **heavy)
        component.clear(desk.edit, inputs, **heavy)
    example.click(desk.edit_example, [confidence, *sliders], **{**heavy, "outputs": [photo, given, *shown]})
    _rerun(desk, desk.edit, inputs, [confidence, *sliders], preset, heavy, sliders)


def _heavy(shown: list[Any]) -> dict[str, Any]:
    """Return what listeners that compute have in common; files come as the browser names them, unread."""
    return {"outputs": shown, "preprocess": False, "api_visibility": "private", "show_progress_on": shown[:1]}


def _photo(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        show_label=False,
        placeholder="# Drop a photo here\nor click to choose one",
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        height=280,
        buttons=[],
        elem_classes="drop",
    )


def _result(hint: str, more: str) -> list[Any]:
    with gr.Column(elem_classes="result"):
        empty = gr.HTML(f"<div class=hint><div><b>{escape(hint)}</b>{escape(more)}</div></div>", padding=False)
        with gr.Column(visible=False) as panel:
            gr.HTML("<div class=sides><span>without the CRF</span><span>with the CRF</span></div>", padding=False)
            compare = gr.ImageSlider(
                label="Without and with the CRF",
                show_label=False,
                interactive=False,
                max_height=560,
                buttons=["fullscreen"],
            )
            legend = gr.HTML(padding=False)
            with gr.Row():
                mask = gr.DownloadButton("Mask (PNG)", size="md", variant="primary", min_width=140)
                overlay = gr.DownloadButton("Overlay (JPEG)", size="md", min_width=140)
    return [compare, legend, mask, overlay, panel, empty]


def _controls(desk: Desk, *, open_: bool) -> tuple[list[gr.Slider], gr.Dropdown]:
    values = defaults(desk.studio.parameters)
    sliders: list[gr.Slider] = []
    with gr.Accordion("Parameters of the CRF", open=open_):
        preset = gr.Dropdown([OWN, *PRESETS], value=OWN, label="Take those of", filterable=False)
        sliders += [_slider(name, values[name]) for name in NAMES[:3]]
        with gr.Accordion("More", open=False, elem_classes="more"):
            sliders += [_slider(name, values[name]) for name in NAMES[3:]]
    return sliders, preset


def _slider(name: str, value: float) -> gr.Slider:
    label, info, lowest, highest, step = _SLIDERS[name]
    return gr.Slider(lowest, max(highest, value), value, step=step, label=label, info=info, buttons=["reset"])


def _rerun(
    desk: Desk,
    action: Callable[..., Any],
    inputs: list[Any],
    moved: list[gr.Slider],
    preset: gr.Dropdown,
    heavy: dict[str, Any],
    sliders: list[gr.Slider] | None = None,
) -> None:
    """While a result is on its way only the last of a slider's places is kept, so that it can be dragged."""
    gr.on([slider.input for slider in moved], action, inputs, trigger_mode="always_last", **heavy)
    preset.input(
        desk.preset, [preset], sliders or moved, preprocess=False, api_visibility="private", show_progress="hidden"
    ).then(action, inputs, **heavy)


def stylesheet() -> str:
    """Return the page's CSS."""
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
