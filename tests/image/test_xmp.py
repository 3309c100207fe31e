import pytest

from keras_rdanet.image.xmp import resized, upright, without_places, without_trailers

TIFF, EXIF = (
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"',
    b'xmlns:e="http://ns.adobe.com/exif/1.0/"',
)


@pytest.mark.parametrize(
    "packet",
    [
        b'<a tiff:Orientation="%d"/>',
        b"<a tiff:Orientation = '%d'/>",
        b"<tiff:Orientation>%d</tiff:Orientation>",
        b"<tiff:Orientation rdf:datatype='int'> %d </tiff:Orientation>",
        b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="%d"/>',
    ],
)
def test_orientation_is_set_to_1(packet):
    assert upright(packet % 6) == packet % 1
    assert upright(packet % 1) == packet % 1


def test_numbers_that_are_no_orientation_stay():
    for packet in (b'<a tiff:Orientation="60"/>', b'<a x:Orientation="6"/>', b"Orientation 6"):
        assert upright(packet) == packet


def test_sizes_are_set_wherever_they_are_stated():
    packet = b'<a tiff:ImageWidth="%d" tiff:ImageLength="%d"/>'
    packet += b"<a " + EXIF + b"><e:PixelXDimension>%d</e:PixelXDimension></a>"
    assert resized(packet % (40, 30, 40), 60, 80) == packet % (80, 60, 80)


def test_what_speaks_of_a_trailer_goes_and_is_named():
    packet = (
        b'<d xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"'
        b' xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" h:Version="1.0" dc:title="t"'
        b' xmpNote:HasExtendedXMP="A1B2">'
        b'<Container:Directory xmlns:Container="http://ns.google.com/photos/1.0/container/">'
        b'<rdf:Seq><rdf:li><Container:Item Item:Length="99"/></rdf:li></rdf:Seq>'
        b"</Container:Directory><GCamera:SpecialTypeID>7</GCamera:SpecialTypeID>"
        b"<h:GainMapMax><rdf:Seq/></h:GainMapMax></d>"
    )
    kept, names = without_trailers(packet)
    assert kept == (
        b'<d xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
        b' xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" dc:title="t">'
        b"<GCamera:SpecialTypeID>7</GCamera:SpecialTypeID></d>"
    )
    assert names == [
        "Container:Directory",
        "GCamera:MotionPhoto",
        "h:GainMapMax",
        "h:Version",
        "xmpNote:HasExtendedXMP",
    ]


def test_thumbnails_go_without_a_name():
    packet = b"<d><xmp:Thumbnails><rdf:Alt>abc</rdf:Alt></xmp:Thumbnails><dc:title/></d>"
    assert without_trailers(packet) == (b"<d><dc:title/></d>", [])


def test_places_in_pixels_go_and_are_named():
    packet = b"<d " + TIFF + b' tiff:XResolution="300/1" tiff:Make="m"><mwg-rs:Regions a="b"/></d>'
    kept, names = without_places(packet)
    assert kept == b"<d " + TIFF + b' tiff:Make="m"></d>'
    assert names == ["mwg-rs:Regions", "tiff:XResolution"]


def test_damaged_packets_stay_as_they_are():
    for packet in (b"", b"\xff\0<", b"<Container:Directory>", b'a GCamera:MotionPhoto="1'):
        assert without_trailers(packet) == (packet, [])
