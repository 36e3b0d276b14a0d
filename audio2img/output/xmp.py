"""The XMP packet of a picture: what cataloguing programs and newsrooms look for.

Says by IPTC's vocabulary that a trained model made the picture (Photo Metadata Standard 2025.1:
Digital Source Type, AI System Used, AI Prompt Information), and describes it by its prompt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from audio2img.output.record import PictureRecord

if TYPE_CHECKING:  # a picture that is shown has no XMP to read before its own text
    import xml.etree.ElementTree as ET

TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "audio2img": "urn:audio2img:1.0/",
}
RECORD = "audio2img:Record"  # ours: the JSON of a PictureRecord, in files that have no better place for it

# The fixed id is XMP's own (XMP specification part 1, 7.3.2); the first mark tells the byte order.
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="w"?>'
# All but the Char of XML 1.0; named by what is left out of it, which compiles in a tenth of the time.
_ILLEGAL_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def format_xmp(
    record: PictureRecord, *, with_record: bool = False, max_letters: int | None = None, guid: str = ""
) -> str:
    """The packet for `record`. Characters that XML cannot hold become U+FFFD.

    with_record: holds our JSON, too. max_letters: of each text, where space is short.
    guid: the name of the extended packet that belongs to it (XMP specification part 3, 1.1.3.1).
    """
    import xml.etree.ElementTree as ET

    simple = {
        "xmp:CreatorTool": f"audio2img {record.audio2img_version}".strip(),
        "xmp:CreateDate": record.created,
        "Iptc4xmpExt:DigitalSourceType": TRAINED_ALGORITHMIC_MEDIA,
        "Iptc4xmpExt:AISystemUsed": record.model,
        "Iptc4xmpExt:AIPromptInformation": _describe_prompts(record),
        "xmpNote:HasExtendedXMP": guid,
        RECORD: record.to_json() if with_record else "",
    }
    root, description = _describe({name: value[:max_letters] for name, value in simple.items()})
    if record.request.prompt:
        languages = ET.SubElement(ET.SubElement(description, _name("dc:description")), _name("rdf:Alt"))
        item = ET.SubElement(languages, _name("rdf:li"))
        item.set("{http://www.w3.org/XML/1998/namespace}lang", "x-default")
        item.text = _legal(record.request.prompt[:max_letters])
    return _PACKET.format(ET.tostring(root, encoding="unicode"))


def extended_xmp(record: PictureRecord) -> str:
    """Our JSON as the extended packet, for what does not fit into the main one."""
    import xml.etree.ElementTree as ET

    return ET.tostring(_describe({RECORD: record.to_json()})[0], encoding="unicode")


def record_in(packet: bytes) -> str:
    """Our JSON in a packet that we or another program wrote; "" where it holds none or is no XML."""
    return _find(packet, RECORD)


def extended_guid(packet: bytes) -> str:
    """The name of the extended packet that belongs to `packet`, "" where there is none."""
    return _find(packet, "xmpNote:HasExtendedXMP")


def _find(packet: bytes, name: str) -> str:
    """A simple property, which may be written as an element or as an attribute of rdf:Description."""
    import xml.etree.ElementTree as ET

    try:
        text = packet.decode("utf-8").strip("\0 \t\r\n")
        if "<!DOCTYPE" in text:  # no XMP has one, and its entities can unfold into gigabytes
            return ""
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError):
        return ""
    for description in root.iter(_name("rdf:Description")):
        if found := description.get(_name(name)) or description.findtext(_name(name)):
            return found
    return ""


def _describe(simple: dict[str, str]) -> tuple[ET.Element, ET.Element]:
    """The root of a packet and its rdf:Description with these properties, as far as they are not ""."""
    import xml.etree.ElementTree as ET

    for prefix, uri in NAMESPACES.items():
        ET.register_namespace(prefix, uri)
    root = ET.Element(_name("x:xmpmeta"))
    about = {_name("rdf:about"): ""}
    description = ET.SubElement(ET.SubElement(root, _name("rdf:RDF")), _name("rdf:Description"), about)
    for name, value in simple.items():
        if value:
            ET.SubElement(description, _name(name)).text = _legal(value)
    return root, description


def _describe_prompts(record: PictureRecord) -> str:
    request = record.request
    return (
        f"{request.prompt}\n(not: {request.negative_prompt})" if request.negative_prompt else request.prompt
    )


def _name(prefixed: str) -> str:
    """ "dc:description" as ElementTree writes it: "{uri}description"."""
    prefix, name = prefixed.split(":")
    return f"{{{NAMESPACES[prefix]}}}{name}"


def _legal(text: str) -> str:
    # ElementTree leaves a bare \r as it is, which every XML reader would turn into \n.
    return _ILLEGAL_IN_XML.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n")
