"""Mail (.eml), by the standard library: one document for the message, one for each attachment that can be read."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage

from indexer.documents import Document
from indexer.errors import Unreadable
from indexer.readers.compose import Composer
from indexer.readers.decode import MARKS, Note, decode
from indexer.readers.html import append_html

SHOWN_HEADERS = ("From", "To", "Cc", "Date")
MAX_DEPTH = 5
MAX_ATTACHMENTS = 100


def read_mail(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a message: its subject is the title, its text begins with who wrote to whom and when."""
    return _read(data, note, depth=0)


def _read(data: bytes, note: Note, depth: int) -> list[Document]:
    if data.startswith(tuple(mark for mark, _ in MARKS)) or b"\0" in data[:200]:
        data = decode(data, note).encode()  # saved by an editor as UTF-16: mail itself is ASCII
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not message.keys():
        raise Unreadable("empty" if not data.strip() else "not a mail: no header")
    if message.get_content_type() == "multipart/encrypted" or message.get_param("smime-type") == "enveloped-data":
        raise Unreadable("encrypted mail")
    composer = Composer()
    for header in SHOWN_HEADERS:
        if value := _header(message, header):
            composer.line(f"{header}: {value}")
    composer.end_lines()
    attachments: list[Document] = []
    unread: list[str] = []
    for part in _parts(message):
        filename = _filename(part)
        kind = part.get_content_type()
        if kind == "message/rfc822":
            inner = part.get_payload(0) if part.is_multipart() else None
            if isinstance(inner, EmailMessage) and depth < MAX_DEPTH:
                attachments += _attached(inner.as_bytes(), filename or "message.eml", note, depth, attachments, unread)
        elif filename or part.get_content_disposition() == "attachment" or part.get_content_maintype() != "text":
            if len(attachments) + len(unread) < MAX_ATTACHMENTS:
                attachments += _attached(_payload(part), filename or kind, note, depth, attachments, unread)
        elif kind == "text/html":
            append_html(composer, _text(part, note))
        else:
            composer.paragraph(_text(part, note))
    if unread:
        composer.paragraph("Attachments: " + ", ".join(unread))
    subject = _header(message, "Subject")
    if not composer.length and subject:
        composer.paragraph(subject)
    return [composer.document(subject), *attachments]


def _parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """Yield the leaves to read: of alternatives the plain text, else the HTML; with its attachments in order."""
    stack = [message]
    while stack:
        part = stack.pop()
        if part.get_content_type() == "multipart/alternative":
            choices = [choice for choice in part.iter_parts() if isinstance(choice, EmailMessage)]
            ranked = sorted(choices, key=_preference)
            stack.extend(ranked[:1])
        elif part.get_content_maintype() == "multipart" and part.is_multipart():
            stack.extend(reversed([inner for inner in part.iter_parts() if isinstance(inner, EmailMessage)]))
        else:
            yield part


def _preference(part: EmailMessage) -> int:
    if part.get_content_type() == "text/plain" and _payload(part).strip():
        return 0
    return 1 if part.get_content_type() in ("text/html", "multipart/related") else 2


def _attached(
    data: bytes, name: str, note: Note, depth: int, siblings: list[Document], unread: list[str]
) -> list[Document]:
    """Read an attachment; what cannot be read is named in the message's text."""
    from indexer.readers import read

    try:
        documents = _read(data, note, depth + 1) if name.endswith(".eml") else read(data, name, note)
    except Unreadable as error:
        unread.append(name)
        note(f"attachment {name[:80]!a}: {error}")
        return []
    taken = {document.key for document in siblings}
    keyed: list[Document] = []
    for document in documents:
        key = f"{name}/{document.key}" if document.key else name
        unique, count = key, 1
        while unique in taken:
            count += 1
            unique = f"{key} ({count})"
        taken.add(unique)
        keyed.append(replace(document, key=unique))
    return keyed


def _text(part: EmailMessage, note: Note) -> str:
    try:
        return decode(_payload(part), note, declared=str(part.get_content_charset() or ""))
    except Unreadable:
        return ""


def _payload(part: EmailMessage) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _header(message: EmailMessage, name: str) -> str:
    # The header parsers of the standard library fail on some malformed values, each in its own way.
    try:
        return " ".join(str(message.get(name) or "").split())
    except (ValueError, IndexError, KeyError, AttributeError, TypeError):
        raw = next((value for field, value in message.raw_items() if field.lower() == name.lower()), "")
        return " ".join(str(raw).split())


def _filename(part: EmailMessage) -> str:
    try:
        return " ".join((part.get_filename() or "").replace("/", "_").split())
    except (ValueError, IndexError, KeyError, AttributeError, TypeError):
        return "attachment"
