"""What the detector learns from. Needs the emoji: npm ci --prefix lab"""

import numpy as np

import scenes
import sprites


def test_no_object_is_shown_in_a_colour_or_on_a_background_kept_for_the_evaluation():
    found = sprites.variants()
    assert {(each.name, each.style) for each in found} == {
        (name, style) for name in sprites.VOCABULARY.names for style in sprites.STYLES
    }
    for variant in found:
        # the other hues are asked for nowhere, so none of them is kept
        assert variant.colour not in scenes.COLOURS or not scenes.is_held("colour", variant.name, variant.colour)
        shown = np.array(sprites.BACKGROUNDS)[sprites.on_backgrounds(variant)]
        assert not any(scenes.is_held("background", variant.name, name) for name in shown)


def test_a_recoloured_thing_has_its_colour_alone():
    for variant in sprites.variants():
        if variant.colour in scenes.COLOURS:
            assert variant.colours == [variant.colour]
        assert set(variant.colours) <= set(sprites.COLOURS)


def test_what_is_refused_in_the_test_was_never_refused_in_training():
    train = {image.tobytes() for image in sprites.others("train")}
    test = {image.tobytes() for image in sprites.others("test")}
    assert min(len(train), len(test)) > 50
    assert not train & test


def test_things_to_refuse_are_a_function_of_the_seed():
    pixels, kinds = sprites.refused_many("train", 24, 5)
    assert pixels.shape == (24, sprites.SIDE, sprites.SIDE, 4)
    again, _ = sprites.refused_many("train", 24, 5)
    other, _ = sprites.refused_many("train", 24, 6)
    assert np.array_equal(pixels, again)
    assert not np.array_equal(pixels, other)
    assert set(kinds) <= set(sprites.REFUSED)
