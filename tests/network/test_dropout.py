import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.network.dropout import dropout


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sets_the_share_to_zero_and_scales_the_rest(layout, dtype):
    torch.manual_seed(0)
    x = torch.ones(2, 64, 41, 41, dtype=dtype).contiguous(memory_format=layout)
    y = dropout(x, 0.25, training=True)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)
    assert (y == 0).double().mean() == pytest.approx(0.25, abs=0.005)
    assert set(y.unique().tolist()) == {0, torch.tensor(4 / 3, dtype=dtype).item()}


def test_elements_are_independent():
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(4, 32, 33, 33), 0.5, training=True) == 0).double()
    for axis in range(4):
        first, second = dropped.narrow(axis, 0, 3).flatten(), dropped.narrow(axis, 1, 3).flatten()
        assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.03


def test_seed_decides():
    x = torch.randn(1, 8, 9, 9)
    torch.manual_seed(5)
    first = dropout(x, 0.5, training=True)
    second = dropout(x, 0.5, training=True)
    torch.manual_seed(5)
    assert torch.equal(first, dropout(x, 0.5, training=True))
    assert not torch.equal(first, second)


def test_gradient_is_that_of_the_kept_elements():
    x = torch.randn(1, 3, 5, 7, requires_grad=True)
    y = dropout(x, 0.5, training=True)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 2.0))


@pytest.mark.parametrize(("probability", "training"), [(0.5, False), (0.0, True), (0.001, True)])
def test_identity(probability, training):
    x = torch.randn(1, 3, 5, 7)
    assert torch.equal(dropout(x, probability, training), x)
