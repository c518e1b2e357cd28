"""What a training sees at which progress."""

import pytest

import curriculum


def test_phases_begin_with_the_training_rise_and_share_out_all_tokens():
    begins = [begin for begin, *_ in curriculum.PHASES]
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    assert begins[-1] < 1
    for _, singles, shares in curriculum.PHASES:
        assert 0 <= singles <= 1
        assert sum(shares.values()) == pytest.approx(1)
        # the transformer's tokens are 16 pixels wide, and every second one must have a partner at half size
        assert all(side % 32 == 0 for shape in shares for side in shape)


def test_every_shape_has_scenes_and_all_scenes_are_seen():
    seen = {shape for *_, shares in curriculum.PHASES for shape in shares}
    assert seen == set(curriculum.SCENES)
    assert curriculum.shapes_between(0, 1) == list(curriculum.SCENES)


def test_a_stretch_of_a_training_wants_the_shapes_of_the_phases_it_touches():
    assert curriculum.shapes_between(0, 0.05) == [(128, 128)]
    assert curriculum.shapes_between(0.1, 0.2) == [(128, 128), (256, 128), (128, 256)]
    # a phase that begins just then is wanted, one that has just ended is not
    assert (256, 256) in curriculum.shapes_between(0.2, 0.3)
    assert (512, 512) not in curriculum.shapes_between(0.3, 0.6)
    assert (512, 512) in curriculum.shapes_between(0.7, 1)


def test_the_phase_at_a_progress():
    assert curriculum.phase_at(0) == curriculum.PHASES[0][1:]
    assert curriculum.phase_at(0.08) == curriculum.PHASES[1][1:]
    assert curriculum.phase_at(1) == curriculum.PHASES[-1][1:]
