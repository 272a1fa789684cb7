//! BODY and BODYSTRUCTURE (RFC 9051 7.5.2).

use std::io;

use imap_types::body::{
    BasicFields, Body, BodyStructure, Disposition, Language, Location, MultiPartExtensionData,
    SinglePartExtensionData, SpecificFields,
};
use imap_types::core::{IString, Vec1};

use super::content::{Content, Media, Parameter};
use super::envelope::{envelope, optional, string};
use super::{Kind, Part, Source, read_header};

/// Octets of the headers of embedded messages that are shown as envelopes; what goes beyond has an empty one. As many messages as
/// there can be, with headers of 4 KiB, are shown all; the answer stays small where they are longer.
const ENVELOPES_LIMIT: u64 = 2 * 1024 * 1024;

/// Makes the structure of a message, with extension data or without.
///
/// # Errors
/// When the header of an embedded message cannot be read.
pub fn structure(
    part: &Part,
    source: &mut dyn Source,
    extended: bool,
) -> io::Result<BodyStructure<'static>> {
    Writer {
        source,
        extended,
        budget: ENVELOPES_LIMIT,
    }
    .part(part)
}

struct Writer<'a> {
    source: &'a mut dyn Source,
    extended: bool,
    /// Octets of headers that may still be shown as envelopes.
    budget: u64,
}

impl Writer<'_> {
    fn part(&mut self, part: &Part) -> io::Result<BodyStructure<'static>> {
        match &part.kind {
            Kind::Multipart(children) => self.multipart(part, children),
            Kind::Message(inner) => {
                let specific = self.message(inner)?;
                Ok(self.single(part, specific))
            }
            Kind::Leaf => Ok(self.single(part, leaf(part))),
        }
    }

    fn multipart(&mut self, part: &Part, children: &[Part]) -> io::Result<BodyStructure<'static>> {
        let bodies = children
            .iter()
            .map(|child| self.part(child))
            .collect::<io::Result<Vec<_>>>()?;
        let media = part.content.media.as_ref();
        let subtype = string(media.map_or(b"MIXED".as_slice(), |media| &media.subtype));
        let extension_data = self.extended.then(|| MultiPartExtensionData {
            parameter_list: media
                .map(|media| pairs(&media.parameters))
                .unwrap_or_default(),
            tail: Some(extension(&part.content)),
        });
        match Vec1::try_from(bodies) {
            Ok(bodies) => Ok(BodyStructure::Multi {
                bodies,
                subtype,
                extension_data,
            }),
            // The tree has no multipart without parts.
            Err(_) => Ok(self.single(part, octets())),
        }
    }

    fn message(&mut self, inner: &Part) -> io::Result<SpecificFields<'static>> {
        let length = inner.header.end - inner.header.start;
        let shown = length <= self.budget;
        self.budget = self.budget.saturating_sub(length);
        let header = if shown {
            read_header(self.source, &inner.header)?
        } else {
            Vec::new()
        };
        Ok(SpecificFields::Message {
            envelope: Box::new(envelope(&header)),
            body_structure: Box::new(self.part(inner)?),
            // The lines of the whole embedded message, its header counted: set by the caller, who knows them.
            number_of_lines: 0,
        })
    }

    fn single(&self, part: &Part, mut specific: SpecificFields<'static>) -> BodyStructure<'static> {
        let lines = small(part.lines);
        match &mut specific {
            SpecificFields::Message {
                number_of_lines, ..
            }
            | SpecificFields::Text {
                number_of_lines, ..
            } => {
                *number_of_lines = lines;
            }
            SpecificFields::Basic { .. } => {}
        }
        let content = &part.content;
        let basic = BasicFields {
            parameter_list: parameters(content.media.as_ref()),
            id: optional(content.id.as_deref()),
            description: optional(content.description.as_deref()),
            content_transfer_encoding: string(content.encoding.as_deref().unwrap_or(b"7BIT")),
            size: small(part.body.end - part.body.start),
        };
        let extension_data = self.extended.then(|| SinglePartExtensionData {
            md5: optional(content.md5.as_deref()),
            tail: Some(extension(content)),
        });
        BodyStructure::Single {
            body: Body { basic, specific },
            extension_data,
        }
    }
}

fn leaf(part: &Part) -> SpecificFields<'static> {
    let Some(media) = &part.content.media else {
        // RFC 2045 5.2: the default is plain text.
        return SpecificFields::Text {
            subtype: string(b"PLAIN"),
            number_of_lines: 0,
        };
    };
    if media.is("text") {
        SpecificFields::Text {
            subtype: string(&media.subtype),
            number_of_lines: 0,
        }
    } else if media.is("multipart") || media.is_message() {
        // Beyond the limits: shown as content that is not looked into, as a client could not make sense of less.
        octets()
    } else {
        SpecificFields::Basic {
            r#type: string(&media.kind),
            subtype: string(&media.subtype),
        }
    }
}

fn octets() -> SpecificFields<'static> {
    SpecificFields::Basic {
        r#type: string(b"APPLICATION"),
        subtype: string(b"OCTET-STREAM"),
    }
}

fn parameters(media: Option<&Media>) -> Vec<(IString<'static>, IString<'static>)> {
    match media {
        Some(media) => pairs(&media.parameters),
        None => vec![(string(b"CHARSET"), string(b"US-ASCII"))],
    }
}

fn pairs(parameters: &[Parameter]) -> Vec<(IString<'static>, IString<'static>)> {
    parameters
        .iter()
        .map(|(name, value)| (string(name), string(value)))
        .collect()
}

fn extension(content: &Content) -> Disposition<'static> {
    let location = Location {
        location: optional(content.location.as_deref()),
        extensions: Vec::new(),
    };
    let language = content.language.iter().map(|tag| string(tag)).collect();
    Disposition {
        disposition: content
            .disposition
            .as_ref()
            .map(|(kind, parameters)| (string(kind), pairs(parameters))),
        tail: Some(Language {
            language,
            tail: Some(location),
        }),
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use imap_codec::ResponseCodec;
    use imap_codec::encode::Encoder;
    use imap_types::fetch::MessageDataItem;
    use imap_types::response::{Data, Response};

    use super::*;
    use crate::mailbox::mime::scan::scan;

    fn encode(item: MessageDataItem<'static>) -> String {
        let items = Vec1::try_from(vec![item]).unwrap();
        let response = Response::Data(Data::Fetch {
            seq: NonZeroU32::MIN,
            items,
        });
        let line = String::from_utf8(ResponseCodec::new().encode(&response).dump()).unwrap();
        line.trim_start_matches("* 1 FETCH (")
            .trim_end_matches(")\r\n")
            .to_owned()
    }

    fn body(message: &str, extended: bool) -> String {
        let mut source = message.as_bytes();
        let part = scan(&mut source).unwrap();
        let structure = structure(&part, &mut source, extended).unwrap();
        encode(if extended {
            MessageDataItem::BodyStructure(structure)
        } else {
            MessageDataItem::Body(structure)
        })
    }

    /// The message of RFC 9051 section 8: its envelope and structure.
    #[test]
    fn rfc_9051_section_8() {
        let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n\
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n";
        let message = format!("{header}{}", "0123456789\r\n".repeat(4));
        assert_eq!(
            body(&message, false),
            "BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 48 4)"
        );
        let expected = "ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
            ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
            \"<B27397-0100000@cac.washington.edu>\")";
        assert_eq!(
            encode(MessageDataItem::Envelope(envelope(header.as_bytes()))),
            expected
        );
    }

    /// RFC 9051 7.5.2: a text and an attachment, the sizes computed here.
    #[test]
    fn text_and_attachment() {
        let message = "Content-Type: multipart/MIXED; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n\
            hello\r\n\r\n--b\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=\"cc.diff\"\r\n\
            Content-ID: <960723163407.20117h@cac.washington.edu>\r\nContent-Description: Compiler diff\r\n\
            Content-Transfer-Encoding: BASE64\r\nContent-Disposition: attachment; filename=cc.diff\r\n\
            Content-Language: en, de\r\nContent-Location: http://x/\r\nContent-MD5: abc=\r\n\r\nYQ==\r\n--b--\r\n";
        let first = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 7 1";
        let second = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") \
            \"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" \"BASE64\" 4 0";
        assert_eq!(
            body(message, false),
            format!("BODY ({first}){second}) \"MIXED\")")
        );
        assert_eq!(
            body(message, true),
            format!(
                "BODYSTRUCTURE ({first} NIL NIL NIL NIL){second} \"abc=\" (\"attachment\" (\"filename\" \"cc.diff\")) \
                 (\"en\" \"de\") \"http://x/\") \"MIXED\" (\"boundary\" \"b\") NIL NIL NIL)"
            )
        );
    }

    #[test]
    fn embedded_message() {
        let inner = "Subject: in\r\nFrom: a@b\r\n\r\nx\r\n";
        let message = format!("Content-Type: message/rfc822\r\n\r\n{inner}");
        let from = "((NIL NIL \"a\" \"b\"))";
        assert_eq!(
            body(&message, false),
            format!(
                "BODY (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" {} (NIL \"in\" {from} {from} {from} NIL NIL NIL NIL NIL) \
                 (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1) 4)",
                inner.len()
            )
        );
    }

    /// All embedded messages are shown with their envelopes, unless their headers are very long.
    #[test]
    fn envelopes_of_many_embedded_messages() {
        let digest = |count: usize, padding: usize| {
            let padding = "x".repeat(padding);
            let message = format!("--d\r\n\r\nX: {padding}\r\nSubject: shown\r\n\r\n\r\n");
            let all = message.repeat(count);
            body(
                &format!("Content-Type: multipart/digest; boundary=d\r\n\r\n{all}--d--\r\n"),
                false,
            )
        };
        assert_eq!(digest(400, 0).matches("\"shown\"").count(), 400);
        let long = digest(80, 60_000);
        let shown = usize::try_from(ENVELOPES_LIMIT).unwrap() / 60_000;
        assert_eq!(long.matches("\"shown\"").count(), shown);
        assert_eq!(
            long.matches("MESSAGE").count(),
            80,
            "the others are there, with empty ones"
        );
    }

    #[test]
    fn raw_octets_in_a_header_become_a_literal() {
        let envelope = envelope(b"Subject: caf\xE9\x00\r\nTo: x:;\r\n\r\n");
        let response = Response::Data(Data::Fetch {
            seq: NonZeroU32::MIN,
            items: Vec1::try_from(vec![MessageDataItem::Envelope(envelope)]).unwrap(),
        });
        let line = ResponseCodec::new().encode(&response).dump();
        let expected = b"* 1 FETCH (ENVELOPE (NIL {4}\r\ncaf\xE9 NIL NIL NIL ((NIL NIL \"x\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL))\r\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn missing_parts_have_a_place() {
        let empty = "Content-Type: multipart/mixed; boundary=x\r\n\r\n";
        assert_eq!(
            body(empty, false),
            "BODY ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) \"mixed\")"
        );
    }
}
