import pytest

from atrous.cli.jobs import Job
from atrous.cli.output_keys import model_key, output_keys
from atrous.errors import InputError


def test_a_model_in_a_folder_has_the_fingerprints_of_its_files(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_bytes(bytes(3))
    (tmp_path / "model/model.onnx").write_bytes(bytes(40))
    (tmp_path / "latest").symlink_to("model")
    name, prints = model_key(tmp_path / "latest")
    assert (name, prints) == model_key(tmp_path / "model")
    assert (name, len(prints)) == ("model", 2)
    assert model_key(tmp_path / "model/model.onnx")[0] == "model.onnx"
    assert model_key(tmp_path / "model/model.onnx")[1][0] in prints
    (tmp_path / "model/README.md").write_text("a model card")
    (tmp_path / "model/.notes").write_text("")
    assert model_key(tmp_path / "model") == (name, prints)
    assert model_key(None)[0].endswith(".onnx")
    with pytest.raises(InputError, match="missing"):
        model_key(tmp_path / "missing")


@pytest.mark.parametrize("size", [3, 20_000, 3_000_000])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_files_of_the_same_size_with_other_content_have_other_keys(tmp_path, size, place):
    path = tmp_path / "scan.bmp"
    path.write_bytes(bytes(size))
    before = output_keys(Job(path, path), [], None), model_key(path)
    content = bytearray(size)
    content[(0, size // 2, size - 1)[place]] = 1
    path.write_bytes(content)
    assert output_keys(Job(path, path), [], None) != before[0]
    assert model_key(path) != before[1]
