from tiny_model import make_model, red_square, tiny_metadata, tiny_model  # noqa: F401
