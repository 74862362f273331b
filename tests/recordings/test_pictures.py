"""PNG and JPEG pictures: laid on white, turned, of 16 bits, of several sizes."""

import io

import numpy as np
import pytest
from PIL import Image

from recordings.importers.images import ON_WHITE, Look, decode_image, decode_images


def png(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_transparent_pictures_lie_on_white_and_say_so():
    """A fifth of black is 204; a palette's transparent colour is white."""
    image, transparent = decode_image(png(Image.new("RGBA", (8, 8), (0, 0, 0, 51))), 3)
    assert transparent and (image == 204).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.paste(1, (0, 0, 4, 8))
    image, transparent = decode_image(png(palette, transparency=0), 3)
    assert transparent and image[0, [0, 7]].tolist() == [[200, 0, 0], [255, 255, 255]]
    image, transparent = decode_image(png(Image.new("RGBA", (8, 8), (7, 7, 7, 255))), 1)
    assert not transparent and (image == 7).all()


def test_a_photograph_is_upright():
    """EXIF's orientation 6: a quarter to the right, so its lower left is upper left."""
    image = Image.new("L", (16, 8), 0)
    image.paste(200, (0, 4, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    shown, _ = decode_image(png(image, exif=exif), 1)
    assert shown.shape == (16, 8, 1)
    assert (shown[:8, :4] == 200).all() and not shown[8:].any() and not shown[:, 4:].any()


def test_16_bits_become_8_and_are_not_cut():
    grey = np.array([[0, 257, 25_700, 65_535]], np.uint16).repeat(2, axis=0)
    assert decode_image(png(Image.fromarray(grey)), 1)[0][0, :, 0].tolist() == [0, 1, 100, 255]


def test_many_are_one_array_or_refused():
    two = [png(Image.new(mode, (8, 8), 90)) for mode in ("L", "LA")]
    images, notes = decode_images(two, 3, Look(size=32))
    assert images.shape == (2, 32, 32, 3) and notes == (ON_WHITE,)
    with pytest.raises(ValueError, match="frames of several sizes"):
        decode_images([*two, png(Image.new("L", (8, 9)))], 3, Look(size=32))
