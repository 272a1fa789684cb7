//! Filters for a packet socket, in the classic language of the Berkeley packet filter: TCP on certain ports, over both versions of IP. What is
//! tagged, fragmented or has headers in between passes: the engine looks closer.

use std::io;
use std::os::fd::OwnedFd;

use socket2::SockFilter;

/// Ports that pass unless said otherwise: those of mail, and of the tunnels it may go through.
pub(super) const PORTS: &[u16] = &[25, 110, 143, 465, 587, 993, 995, 2525, 1080, 3128];

const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEHIND_HEADER: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
/// More than any packet.
const ALL: u32 = 0x0004_0000;

/// One step: what to do, with which value, and how many steps to pass over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

fn step(code: u16, value: u32, if_true: u8, if_false: u8) -> Step {
    Step {
        code,
        if_true,
        if_false,
        value,
    }
}

/// Lets nothing pass.
pub(super) fn nothing() -> Vec<Step> {
    vec![step(RETURN, 0, 0, 0)]
}

/// Lets everything pass.
pub(super) fn everything() -> Vec<Step> {
    vec![step(RETURN, ALL, 0, 0)]
}

/// Lets TCP from and to these ports pass. At most 50 ports, so that no jump is too far.
pub(super) fn ports(ports: &[u16]) -> Vec<Step> {
    let ports: Vec<u32> = ports.iter().take(50).map(|it| u32::from(*it)).collect();
    let mut program = vec![step(LOAD_HALF, 12, 0, 0)];
    program.extend(unless(&[0x0800], &version4(&ports)));
    program.extend(unless(&[0x86dd], &version6(&ports)));
    // Tags, labels, PPPoE: the engine looks closer.
    program.extend(unless(&[0x8100], &everything()));
    program.extend(unless(&[0x88a8], &everything()));
    program.extend(unless(&[0x8847], &everything()));
    program.extend(unless(&[0x8864], &everything()));
    program.extend(nothing());
    program
}

/// A part that is passed over unless the value is one of these.
fn unless(values: &[u32], part: &[Step]) -> Vec<Step> {
    let length = u8::try_from(part.len()).unwrap_or(u8::MAX);
    let mut steps: Vec<Step> = values
        .iter()
        .map(|it| step(JUMP_IF_EQUAL, *it, 0, length))
        .collect();
    steps.extend_from_slice(part);
    steps
}

/// Passes when the value is one of these ports, goes on else.
fn one_of(ports: &[u32]) -> Vec<Step> {
    let mut steps = Vec::new();
    for port in ports {
        steps.push(step(JUMP_IF_EQUAL, *port, 0, 1));
        steps.push(step(RETURN, ALL, 0, 0));
    }
    steps
}

fn version4(ports: &[u32]) -> Vec<Step> {
    let mut steps = vec![
        step(LOAD_BYTE, 23, 0, 0),
        step(JUMP_IF_EQUAL, 6, 1, 0),
        step(RETURN, 0, 0, 0),
        step(LOAD_HALF, 20, 0, 0),
        // A fragment, also the first one: the others have no ports.
        step(JUMP_IF_SET, 0x3fff, 0, 1),
        step(RETURN, ALL, 0, 0),
        step(LOAD_HEADER_LENGTH, 14, 0, 0),
        step(LOAD_HALF_BEHIND_HEADER, 14, 0, 0),
    ];
    steps.extend(one_of(ports));
    steps.push(step(LOAD_HALF_BEHIND_HEADER, 16, 0, 0));
    steps.extend(one_of(ports));
    steps.push(step(RETURN, 0, 0, 0));
    steps
}

fn version6(ports: &[u32]) -> Vec<Step> {
    let mut steps = vec![step(LOAD_BYTE, 20, 0, 0)];
    for header in [0, 43, 44, 60] {
        steps.push(step(JUMP_IF_EQUAL, header, 0, 1));
        steps.push(step(RETURN, ALL, 0, 0));
    }
    steps.push(step(JUMP_IF_EQUAL, 6, 1, 0));
    steps.push(step(RETURN, 0, 0, 0));
    steps.push(step(LOAD_HALF, 54, 0, 0));
    steps.extend(one_of(ports));
    steps.push(step(LOAD_HALF, 56, 0, 0));
    steps.extend(one_of(ports));
    steps.push(step(RETURN, 0, 0, 0));
    steps
}

/// Gives the filter to the kernel.
pub(super) fn attach(raw: OwnedFd, program: &[Step]) -> io::Result<OwnedFd> {
    let socket = socket2::Socket::from(raw);
    let steps: Vec<SockFilter> = program
        .iter()
        .map(|it| SockFilter::new(it.code, it.if_true, it.if_false, it.value))
        .collect();
    socket.attach_filter(&steps)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program over a packet, as the kernel would.
    fn passes(program: &[Step], packet: &[u8]) -> bool {
        let (mut accumulator, mut header, mut at) = (0_u32, 0_usize, 0);
        let byte = |at: usize| packet.get(at).copied().map(u32::from);
        let half = |at: usize| Some(byte(at)? << 8 | byte(at + 1)?);
        loop {
            let it = program[at];
            at += 1;
            let value = it.value as usize;
            let loaded = match it.code {
                RETURN => return it.value > 0,
                JUMP_IF_EQUAL => {
                    at += usize::from(if accumulator == it.value {
                        it.if_true
                    } else {
                        it.if_false
                    });
                    continue;
                }
                JUMP_IF_SET => {
                    at += usize::from(if accumulator & it.value != 0 {
                        it.if_true
                    } else {
                        it.if_false
                    });
                    continue;
                }
                LOAD_HEADER_LENGTH => {
                    header = byte(value).map_or(0, |it| (it as usize & 15) * 4);
                    continue;
                }
                LOAD_HALF => half(value),
                LOAD_BYTE => byte(value),
                LOAD_HALF_BEHIND_HEADER => half(value + header),
                other => panic!("{other:x}"),
            };
            match loaded {
                Some(loaded) => accumulator = loaded,
                None => return false,
            }
        }
    }

    fn version4(protocol: u8, fragment: u16, from: u16, to: u16) -> Vec<u8> {
        let mut packet = vec![0; 12];
        packet.extend([8, 0, 0x46, 0, 0, 40, 0, 0]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]);
        packet.extend(from.to_be_bytes());
        packet.extend(to.to_be_bytes());
        packet
    }

    fn version6(next: u8, from: u16, to: u16) -> Vec<u8> {
        let mut packet = vec![0; 12];
        packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, next, 64]);
        packet.extend([1; 32]);
        packet.extend(from.to_be_bytes());
        packet.extend(to.to_be_bytes());
        packet
    }

    #[test]
    fn mail_passes_and_other_things_do_not() {
        let program = ports(PORTS);
        assert!(passes(&program, &version4(6, 0, 40_000, 25)));
        assert!(passes(&program, &version4(6, 0, 995, 40_000)));
        assert!(!passes(&program, &version4(6, 0, 443, 40_000)));
        assert!(!passes(&program, &version4(17, 0, 25, 25)));
        assert!(passes(&program, &version4(6, 0x2000, 443, 40_000)));
        assert!(passes(&program, &version6(6, 40_000, 587)));
        assert!(!passes(&program, &version6(6, 40_000, 443)));
        assert!(passes(&program, &version6(44, 0, 0)));
        let mut tagged = version4(6, 0, 1, 2);
        tagged[12..14].copy_from_slice(&[0x81, 0]);
        assert!(passes(&program, &tagged));
        assert!(!passes(&program, &[0; 20]));
        assert!(!passes(&nothing(), &version4(6, 0, 25, 25)) && passes(&everything(), &[]));
        // The jumps of the longest program fit.
        let many: Vec<u16> = (1..=60).collect();
        assert!(passes(&ports(&many), &version6(6, 40_000, 50)));
    }
}
