"""The README's picture: each example photo, the network alone, with the CRF.

python benchmarks/picture.py [--out docs/images/examples.jpg] [PHOTO...]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import atrous
from atrous.atomic import replacing
from atrous.palette import overlay

ROOT = Path(__file__).parents[1]
EXAMPLES = [ROOT / "examples" / name for name in ("cat.jpg", "astronaut.jpg", "photographer.jpg")]
HEIGHT, GAP, CAPTION = 260, 8, 30


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs="*", type=Path, default=EXAMPLES)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "examples.jpg")
    arguments = parser.parse_args()

    segmenter = atrous.Segmenter()
    rows = []
    for photo in arguments.photos:
        result = segmenter(photo)
        alone = overlay(result.image, result.dcnn_labels, result.classes, result.palette)
        panels = (Image.fromarray(result.image), alone, result.overlay())
        width = round(HEIGHT * panels[0].width / panels[0].height)
        rows.append([panel.resize((width, HEIGHT), Image.Resampling.LANCZOS) for panel in panels])

    # The rows differ in width: photos side by side, the stages below each other.
    columns = [row[0].width for row in rows]
    captions = ("photo", "network alone", "with the CRF")
    size = (sum(columns) + GAP * (len(columns) - 1), 3 * (HEIGHT + CAPTION))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(20)
    for stage, caption in enumerate(captions):
        top = stage * (HEIGHT + CAPTION)
        draw.text((2, top + 2), caption, font=font, fill="black")
        left = 0
        for row, width in zip(rows, columns, strict=True):
            sheet.paste(row[stage], (left, top + CAPTION - 2))
            left += width + GAP
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(arguments.out) as temporary:
        sheet.save(temporary, format="JPEG", quality=88)
    print(f"{arguments.out}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
