import pytest

from atrous.cli.output_keys import model_key
from atrous.errors import InputError


def test_a_model_in_a_folder_has_the_size_of_its_files(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_bytes(bytes(3))
    (tmp_path / "model/model.onnx").write_bytes(bytes(40))
    (tmp_path / "latest").symlink_to("model")
    assert model_key(tmp_path / "latest") == model_key(tmp_path / "model") == ("model", 43)
    assert model_key(tmp_path / "model/model.onnx") == ("model.onnx", 40)
    assert model_key(None)[0].endswith(".onnx")
    with pytest.raises(InputError, match="missing"):
        model_key(tmp_path / "missing")
