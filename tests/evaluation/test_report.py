import base64
import importlib.util
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from atrous.data.metadata import VOC_CLASSES
from atrous.errors import MissingExtra
from atrous.evaluation._plots import confusion_plot, trimap_curves
from atrous.evaluation.evaluator import score
from atrous.evaluation.predictors import FolderLabeler, SegmenterLabeler
from atrous.evaluation.report import check_report, chosen, report_html
from atrous.evaluation.results import ImageScores
from atrous.evaluation.run_info import RunInfo
from atrous.evaluation.trimap import WIDTHS
from atrous.segmenter import Segmenter

pytest.importorskip("jinja2", reason="needs the extra 'plot'")
pytest.importorskip("matplotlib", reason="needs the extra 'plot'")


class Page(HTMLParser):
    """Tags that were opened and not closed, pictures, and all text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.addresses, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(attributes)
        self.addresses += [attributes[key] for key in ("src", "href") if key in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def run(**changes):
    facts = {"model": "<b>mine</b> & yours", "network": "deeplab-largefov, int8"}
    return RunInfo("data", "val", "0" * 64, 6, None, facts, ("seen <before>",), "2026-01-02T03:04:05", 2.0, 1, 1, 1)


@pytest.fixture
def made(engine, samples):
    labeler = SegmenterLabeler(Segmenter(engine), (0, 1, 2))
    result = score(labeler, samples, trimap=WIDTHS)
    return result, report_html(result, run(), labeler, samples, np.array(engine.metadata.palette, np.uint8))


def test_the_page_needs_nothing_from_outside(made):
    page = Page(made[1])
    assert page.open == []
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"https?:|@import|url\(", re.sub(r"data:image/[^\"]*", "", made[1]))
    assert all(picture["alt"] for picture in page.pictures)


def test_all_parts_are_there(made):
    result, html = made
    page = Page(html)
    # Best, median and worst with photo, truth, DCNN, CRF; two curves of bands, two of steps; the matrix.
    assert len(page.pictures) == 3 * 4 + 2 + 2 + 1
    for picture in page.pictures:
        kind, data = picture["src"].split(";base64,")
        if kind == "data:image/jpeg":
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                assert (str(image.width), str(image.height)) == (picture["width"], picture["height"])
        else:
            assert ElementTree.fromstring(base64.b64decode(data)).tag.endswith("svg")
    for word in (*result.classes, *(row.name for row in result.rows), "Mean-field steps", "Along the outlines"):
        assert word in page.text
    for matrix in (result.dcnn, result.crf):
        for value in matrix.summary().values():
            assert f"{100 * value:.2f} %" in page.text


def test_what_is_written_by_others_is_text(made):
    _, html = made
    page = Page(html)
    assert "<b>mine</b> & yours" in page.text
    assert "Warning: seen <before>." in page.text
    assert "<b>mine" not in html


def test_the_image_with_a_middle_score_is_the_median():
    rows = [
        ImageScores(n, f"i{n}", 1, 0, {"network alone": v}, {"network alone": 1.0})
        for n, v in enumerate((0.2, 0.9, 0.5, 0.4, 0.1))
    ]
    none = ImageScores(5, "void", 0, 9, {"network alone": float("nan")}, {"network alone": float("nan")})
    named = {title: row.name for title, row in chosen([*rows, none], "network alone").items()}
    assert named == {"best": "i1", "median": "i3", "worst": "i4"}
    assert list(chosen(rows[:2], "network alone")) == ["best", "worst"]
    assert list(chosen(rows[:1], "network alone")) == ["best"]
    assert chosen([none], "network alone") == {}


def test_label_maps_of_one_folder_without_void_or_all_classes(tmp_path, samples):
    for sample in samples[:1]:
        with Image.open(sample.label) as truth:
            Image.fromarray(np.where(np.array(truth) == 1, 1, 0).astype(np.uint8)).save(tmp_path / f"{sample.name}.png")
    labeler = FolderLabeler([tmp_path], VOC_CLASSES)
    result = score(labeler, samples[:1])
    page = Page(report_html(result, run(), labeler, samples[:1], np.zeros((21, 3), np.uint8)))
    assert len(page.pictures) == 3 + 1
    assert "100.00 %" in page.text
    assert "Along the outlines" not in page.text


def test_the_authors_curves_only_beside_the_same_classes(made, tmp_path, samples):
    assert "Chen et al., DeepLab-CRF" not in trimap_curves(made[0], accuracy=False)
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "photo0.png")
    of_voc = score(FolderLabeler([tmp_path], VOC_CLASSES), samples[:1], trimap=WIDTHS)
    drawn = trimap_curves(of_voc, accuracy=True)
    assert "Chen et al., DeepLab-CRF" in drawn
    assert drawn == trimap_curves(of_voc, accuracy=True)


def test_a_matrix_with_classes_that_are_nowhere(made):
    counts = made[0].dcnn
    counts.counts[2] = 0
    assert confusion_plot(counts, made[0].classes).startswith("<?xml")


def test_without_jinja2_or_matplotlib_the_extra_is_named(monkeypatch):
    found = importlib.util.find_spec
    for missing in ("jinja2", "matplotlib"):
        with monkeypatch.context() as patch:
            patch.setattr(
                "atrous.evaluation.report.find_spec", lambda name, m=missing: None if name == m else found(name)
            )
            with pytest.raises(MissingExtra, match=rf"{missing}.*extra 'plot'"):
                check_report()
