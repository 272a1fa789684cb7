//! Captured traffic made by code, written straight to a file: IPv4 and TCP in Ethernet, as pcap.
//!
//! Flows are open side by side, as on a mail system's wire: a reader that keeps something for each pays for all of them.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use gatepost_testkit::capture::{Call, Capture, HEAD, Speaker};
use gatepost_wire::tls::{Offer, TLS13};

/// The payload of a full segment.
const SEGMENT: usize = 1_448;
/// Flows that are open at the same time.
const TOGETHER: usize = 64;

/// A capture file being written.
pub(super) struct Traffic {
    file: BufWriter<File>,
    capture: Capture,
    written: u64,
    flows: u32,
    packet: Vec<u8>,
}

impl Traffic {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&HEAD)?;
        Ok(Self {
            file,
            capture: Capture::paced(7),
            written: HEAD.len() as u64,
            flows: 0,
            packet: Vec::new(),
        })
    }

    /// The octets written so far.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.written)
    }

    fn open(&mut self, server_port: u16) -> io::Result<Call> {
        self.flows += 1;
        // 10.0.0.0/8, one client each.
        let client = (0x0a00_0000 + self.flows).to_be_bytes();
        let port = 40_000 + u16::try_from(self.flows % 20_000).unwrap_or(0);
        let numbers = [77_777, 99_991].map(|it| self.flows.wrapping_mul(it));
        let flow = self.capture.call_from((client, port), server_port, numbers);
        self.write()?;
        Ok(flow)
    }

    fn close(&mut self, flow: &mut Call) -> io::Result<()> {
        self.capture.close(flow);
        self.write()
    }

    fn say(&mut self, flow: &mut Call, speaker: Speaker, octets: &[u8]) -> io::Result<()> {
        for piece in octets.chunks(SEGMENT) {
            self.capture.say(flow, speaker, piece);
        }
        self.write()
    }

    /// The client says that it has everything.
    fn acknowledge(&mut self, flow: &mut Call) -> io::Result<()> {
        self.capture.say(flow, Speaker::Client, &[]);
        self.write()
    }

    /// What was said goes to the file: no more than that is held.
    fn write(&mut self) -> io::Result<()> {
        for packet in self.capture.packets.drain(..) {
            self.packet.clear();
            packet.write_to(&mut self.packet);
            self.written += self.packet.len() as u64;
            self.file.write_all(&self.packet)?;
        }
        Ok(())
    }

    /// Flows of implicit TLS that carry much: nearly everything is encrypted. Until so many octets are written.
    pub(super) fn settled(&mut self, port: u16, octets: u64) -> io::Result<()> {
        let record = record();
        while self.written < octets {
            let mut flows = Vec::new();
            for _ in 0..TOGETHER {
                let mut flow = self.open(port)?;
                self.tls(&mut flow)?;
                flows.push(flow);
            }
            for _ in 0..32 {
                for flow in &mut flows {
                    self.say(flow, Speaker::Server, &record)?;
                    self.acknowledge(flow)?;
                }
            }
            for mut flow in flows {
                self.close(&mut flow)?;
            }
        }
        Ok(())
    }

    fn tls(&mut self, flow: &mut Call) -> io::Result<()> {
        let mut offer = Offer::new(TLS13, [7; 32]);
        offer.suites = vec![0x1301, 0x1302];
        offer.server_name = Some("mail.example.test".to_owned());
        self.say(flow, Speaker::Client, &offer.record())?;
        self.say(flow, Speaker::Server, &server_hello())?;
        self.say(flow, Speaker::Client, &[20, 3, 3, 0, 1, 1])
    }

    /// Mail in clear: every octet is looked at.
    pub(super) fn decoded(&mut self, octets: u64) -> io::Result<()> {
        let letter = letter();
        while self.written < octets {
            let mut flows = Vec::new();
            for _ in 0..TOGETHER {
                let mut flow = self.open(25)?;
                self.greet(&mut flow)?;
                flows.push(flow);
            }
            for _ in 0..8 {
                for flow in &mut flows {
                    self.mail(flow, &letter)?;
                }
            }
            for mut flow in flows {
                self.say(&mut flow, Speaker::Client, b"QUIT\r\n")?;
                self.say(&mut flow, Speaker::Server, b"221 2.0.0 Bye\r\n")?;
                self.close(&mut flow)?;
            }
        }
        Ok(())
    }

    fn greet(&mut self, flow: &mut Call) -> io::Result<()> {
        self.say(flow, Speaker::Server, b"220 mail.example.test ESMTP\r\n")?;
        self.say(flow, Speaker::Client, b"EHLO client.example.test\r\n")?;
        let words =
            b"250-mail.example.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n";
        self.say(flow, Speaker::Server, words)
    }

    fn mail(&mut self, flow: &mut Call, letter: &[u8]) -> io::Result<()> {
        let steps: [(&[u8], &[u8]); 3] = [
            (b"MAIL FROM:<a@example.test>\r\n", b"250 2.1.0 Ok\r\n"),
            (b"RCPT TO:<b@example.test>\r\n", b"250 2.1.5 Ok\r\n"),
            (b"DATA\r\n", b"354 End data with <CR><LF>.<CR><LF>\r\n"),
        ];
        for (words, reply) in steps {
            self.say(flow, Speaker::Client, words)?;
            self.say(flow, Speaker::Server, reply)?;
        }
        self.say(flow, Speaker::Client, letter)?;
        self.say(flow, Speaker::Server, b"250 2.0.0 Ok: queued\r\n")
    }

    /// What is not mail, and one packet in twenty that is: settled mail flows among many others.
    pub(super) fn mixed(&mut self, octets: u64) -> io::Result<()> {
        let other = [0xa5; SEGMENT];
        let record = record();
        while self.written < octets {
            let mut web: Vec<Call> = (0..TOGETHER)
                .map(|_| self.open(8_443))
                .collect::<io::Result<_>>()?;
            let mut mail = self.open(993)?;
            self.tls(&mut mail)?;
            for _ in 0..64 {
                for flow in &mut web {
                    for _ in 0..4 {
                        self.say(flow, Speaker::Server, &other)?;
                    }
                }
                // 12 segments beside 256.
                self.say(&mut mail, Speaker::Server, &record)?;
            }
            for flow in &mut web {
                self.close(flow)?;
            }
            self.close(&mut mail)?;
        }
        Ok(())
    }

    /// So many sessions that stay open: in clear, or settled in TLS.
    pub(super) fn held(&mut self, count: u32, is_settled: bool) -> io::Result<()> {
        let record = record();
        for _ in 0..count {
            let mut flow = self.open(if is_settled { 993 } else { 25 })?;
            if is_settled {
                self.tls(&mut flow)?;
                self.say(&mut flow, Speaker::Server, &record)?;
                self.say(&mut flow, Speaker::Client, &record)?;
            } else {
                self.greet(&mut flow)?;
            }
        }
        Ok(())
    }
}

/// A full record of application data.
fn record() -> Vec<u8> {
    let mut record = vec![23, 3, 3, 0x40, 0x11];
    record.resize(5 + 0x4011, 0x5c);
    record
}

/// A ServerHello of TLS 1.3 and its `ChangeCipherSpec` (RFC 9846 4.1.3).
fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0x13, 0x01, 0]);
    let mut extensions = vec![0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 0x1d, 0, 32];
    extensions.extend([5; 32]);
    body.extend(u16::try_from(extensions.len()).unwrap_or(0).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![2, 0, 0];
    message.push(u8::try_from(body.len()).unwrap_or(0));
    message.extend(body);
    let mut out = vec![22, 3, 3, 0];
    out.push(u8::try_from(message.len()).unwrap_or(0));
    out.extend(message);
    out.extend([20, 3, 3, 0, 1, 1]);
    out
}

/// Ten kilobytes of a letter, with its end.
fn letter() -> Vec<u8> {
    let mut letter =
        b"From: a@example.test\r\nTo: b@example.test\r\nSubject: figures\r\n\r\n".to_vec();
    while letter.len() < 10_240 {
        letter.extend_from_slice(
            b"What stands in this line is of no interest to anybody at all, and it ends here.\r\n",
        );
    }
    letter.extend_from_slice(b".\r\n");
    letter
}
