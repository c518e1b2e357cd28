"""What the trainings of decoder and transformer share."""

import pytest

torch = pytest.importorskip("torch")

import run  # noqa: E402


def parameter(*gradient: float) -> "torch.nn.Parameter":
    result = torch.nn.Parameter(torch.zeros(len(gradient)))
    result.grad = torch.tensor(gradient, dtype=torch.float32)
    return result


def test_gradients_are_scaled_down_to_a_norm_of_one_and_others_stay():
    clipped, other, small = [parameter(3, 0), parameter(4)], parameter(5), parameter(0.5)
    assert run.clip_gradients(clipped, [other]).item() == 5
    assert torch.cat([each.grad for each in clipped]).tolist() == pytest.approx([0.6, 0, 0.8], abs=1e-5)
    assert other.grad.tolist() == [5]
    run.clip_gradients([small])
    assert small.grad.tolist() == [0.5]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_gradient_that_is_no_number_clears_all(bad: float):
    clipped, other, none = [parameter(3, bad), parameter(4)], parameter(bad), torch.nn.Parameter(torch.zeros(1))
    assert not run.clip_gradients([*clipped, none], [other]).isfinite()
    assert [each.grad.tolist() for each in (*clipped, other)] == [[0, 0], [0], [0]]
