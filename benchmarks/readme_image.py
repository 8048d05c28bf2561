"""Image at the top of README: each row shows an image, the network's labels, and the labels with CRF.

python benchmarks/readme_image.py [--out docs/images/examples.jpg] [IMAGE...]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import atrous
from atrous._io import replacing
from atrous.labelmap import overlay

ROOT = Path(__file__).parents[1]
EXAMPLES = [ROOT / "examples" / name for name in ("photographer.jpg", "cat.jpg")]
CAPTIONS = ("image", "network alone", "with CRF")
WIDTH, GAP, CAPTION = 340, 8, 34


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images", nargs="*", type=Path, default=EXAMPLES)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "examples.jpg")
    arguments = parser.parse_args()

    segmenter = atrous.Segmenter()
    rows = []
    for path in arguments.images:
        result = segmenter(path)
        alone = overlay(result.image, result.dcnn_labels, result.classes, result.palette)
        panels = (Image.fromarray(result.image), alone, result.overlay())
        height = round(WIDTH * panels[0].height / panels[0].width)
        rows.append([panel.resize((WIDTH, height), Image.Resampling.LANCZOS) for panel in panels])

    width = len(CAPTIONS) * (WIDTH + GAP) - GAP
    height = CAPTION + sum(row[0].height + GAP for row in rows) - GAP
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(22)
    for column, caption in enumerate(CAPTIONS):
        left = column * (WIDTH + GAP)
        draw.text((left + WIDTH / 2, CAPTION / 2), caption, font=font, fill="black", anchor="mm")
        top = CAPTION
        for row in rows:
            canvas.paste(row[column], (left, top))
            top += row[column].height + GAP
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(arguments.out) as temporary:
        canvas.save(temporary, format="JPEG", quality=88)
    print(f"{arguments.out}: {canvas.width}x{canvas.height}")


if __name__ == "__main__":
    main()
