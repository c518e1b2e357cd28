"""What a training sees at which progress."""

import pytest

import curricula


@pytest.mark.parametrize("name", curricula.CURRICULA)
def test_phases_begin_with_the_training_rise_and_share_out_all_tokens(name: str):
    phases = curricula.CURRICULA[name]
    begins = [begin for begin, *_ in phases]
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    assert begins[-1] < 1
    for _, singles, shares in phases:
        assert 0 <= singles <= 1
        assert sum(shares.values()) == pytest.approx(1)
        # the transformer's tokens are 16 pixels wide, and every second one must have a partner at half size
        assert all(side % 32 == 0 for shape in shares for side in shape)


def test_shapes_are_those_of_all_phases():
    assert curricula.shapes("cores") == {(128, 128), (256, 256), (256, 128), (128, 256), (128, 64), (64, 128)}
