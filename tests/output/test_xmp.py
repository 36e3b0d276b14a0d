from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from audio2img.output.record import PictureRecord
from audio2img.output.xmp import NAMESPACES, TRAINED_ALGORITHMIC_MEDIA, format_xmp
from audio2img.types import ImageRequest

DESCRIPTION = "rdf:RDF/rdf:Description"


def find(packet: str, path: str) -> str | None:
    return ET.fromstring(packet).findtext(f"{DESCRIPTION}/{path}", namespaces=NAMESPACES)


def test_packet_says_what_the_picture_is(record: PictureRecord) -> None:
    packet = format_xmp(replace(record, audio2img_version="0.1.0"))
    assert packet.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith('<?xpacket end="w"?>')
    assert find(packet, "Iptc4xmpExt:DigitalSourceType") == TRAINED_ALGORITHMIC_MEDIA
    assert find(packet, "Iptc4xmpExt:AISystemUsed") == "mini"
    assert find(packet, "Iptc4xmpExt:AIPromptInformation") == "a red house under a yellow moon\n(not: blurry)"
    assert find(packet, "dc:description/rdf:Alt/rdf:li") == "a red house under a yellow moon"
    assert find(packet, "xmp:CreatorTool") == "audio2img 0.1.0"
    assert find(packet, "xmp:CreateDate") == "2026-11-21T08:30:00Z"


def test_prefixes_are_the_usual_ones(record: PictureRecord) -> None:
    # Some readers look for the prefix, not for the namespace.
    packet = format_xmp(record)
    for name in (
        "<x:xmpmeta",
        "<rdf:RDF",
        "<dc:description>",
        "<xmp:CreatorTool>",
        "<Iptc4xmpExt:DigitalSourceType>",
    ):
        assert name in packet


def legal(text: str) -> str:
    """What XML 1.0 can hold of `text` (production 2, Char), with its line ends (2.11)."""

    def holds(character: str) -> bool:
        code = ord(character)
        return character in "\t\n\r" or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000

    kept = "".join(character if holds(character) else "\ufffd" for character in text)
    return kept.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text(st.characters()))
@example("</rdf:li>&amp;<!--]]>")
@example('" onload="x" <?xpacket end="w"?>')
@example("a\r\nb\rc")
@example("\x00\x08\x0b\ud800\uffff")
def test_any_prompt_survives_a_real_xml_reader(prompt: str) -> None:
    packet = format_xmp(PictureRecord(ImageRequest(prompt), "mini"))
    packet.encode("utf-8")
    assert (find(packet, "dc:description/rdf:Alt/rdf:li") or "") == legal(prompt)
    assert (find(packet, "Iptc4xmpExt:AIPromptInformation") or "") == legal(prompt)
