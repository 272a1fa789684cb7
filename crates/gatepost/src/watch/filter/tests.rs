//! The programs, run by a machine like the kernel's over frames of all kinds, whole and cut.

use super::*;

/// Runs a program over a packet, as the kernel would.
fn passes(program: &[Step], packet: &[u8]) -> bool {
    let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
    let load = |place: u32, count: usize| {
        let octets = packet.get(place as usize..place as usize + count)?;
        Some(octets.iter().fold(0, |sum, it| sum << 8 | u32::from(*it)))
    };
    loop {
        let it = program[at];
        at += 1;
        let mut jump = |condition: bool| {
            at += usize::from(if condition { it.if_true } else { it.if_false });
        };
        let loaded = match it.code {
            code::RETURN => return it.value > 0,
            code::LOAD_LENGTH => Some(u32::try_from(packet.len()).unwrap()),
            code::LOAD_WORD => load(x + it.value, 4),
            code::LOAD_HALF => load(x + it.value, 2),
            code::LOAD_BYTE => load(x + it.value, 1),
            code::ADD => Some(a.wrapping_add(it.value)),
            code::ADD_X => Some(a.wrapping_add(x)),
            code::SUBTRACT_X => Some(a.wrapping_sub(x)),
            code::MULTIPLY => Some(a.wrapping_mul(it.value)),
            code::REMAINDER => Some(a % it.value),
            code::AND => Some(a & it.value),
            code::SHIFT_LEFT => Some(a << it.value),
            code::SHIFT_RIGHT => Some(a >> it.value),
            code::FROM_X => Some(x),
            other => {
                match other {
                    code::SET_X => x = it.value,
                    code::RECALL_X => x = memory[it.value as usize],
                    code::KEEP => memory[it.value as usize] = a,
                    code::KEEP_X => memory[it.value as usize] = x,
                    code::TO_X => x = a,
                    code::JUMP => at += it.value as usize,
                    code::JUMP_IF_EQUAL => jump(a == it.value),
                    code::JUMP_IF_AT_LEAST => jump(a >= it.value),
                    code::JUMP_IF_SET => jump(a & it.value != 0),
                    unknown => panic!("{unknown:x}"),
                }
                continue;
            }
        };
        // What is not there ends the program.
        let Some(loaded) = loaded else {
            return false;
        };
        a = loaded;
    }
}

fn programs(ports: &[u16], workers: u32, has_link_layer: bool) -> Vec<Steps> {
    let program = |worker| {
        let filter = Filter {
            has_link_layer,
            ports,
            worker,
            workers,
        };
        filter.program()
    };
    (0..workers).map(program).collect()
}

/// To which workers a packet comes.
fn takers(programs: &[Steps], packet: &[u8]) -> Vec<usize> {
    let all = programs.iter().enumerate();
    all.filter(|(_, program)| passes(program, packet))
        .map(|it| it.0)
        .collect()
}

/// Both ends: the addresses by their last octet, and the ports.
#[derive(Clone, Copy)]
struct Ends(u8, u8, u16, u16);

impl Ends {
    fn back(self) -> Self {
        Self(self.1, self.0, self.3, self.2)
    }
}

fn tcp(ends: Ends) -> Vec<u8> {
    let mut segment = ends.2.to_be_bytes().to_vec();
    segment.extend(ends.3.to_be_bytes());
    segment.extend([0; 16]);
    segment
}

/// A datagram of version 4 with options in its header.
fn version4(protocol: u8, fragment: u16, ends: Ends, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x46, 0, 0, 44, 0, 7];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, ends.0, 198, 51, 100, ends.1]);
    packet.extend([1; 4]);
    packet.extend(payload);
    packet
}

fn version6(next: u8, ends: Ends, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, next, 64];
    for (first, last) in [(0x20, ends.0), (0xfd, ends.1)] {
        packet.push(first);
        packet.extend([7; 14]);
        packet.push(last);
    }
    packet.extend(payload);
    packet
}

/// The ways a datagram may be packed into a frame; the last ones are too deep to be looked into.
fn frames(ip: &[u8]) -> Vec<Vec<u8>> {
    let is_four = ip[0] >> 4 == 4;
    let kind: &[u8] = if is_four { &[8, 0] } else { &[0x86, 0xdd] };
    let point: &[u8] = if is_four { &[0, 0x21] } else { &[0, 0x57] };
    let tag = |kind: u8, low: u8| vec![0x81, kind, 0, low];
    let frame = |parts: &[&[u8]]| [&[2; 12], &parts.concat()[..], ip].concat();
    vec![
        frame(&[kind]),
        frame(&[&tag(0, 5), kind]),
        frame(&[&[0x88, 0xa8, 0, 9], &tag(0, 5), kind]),
        frame(&[&[0x91, 0, 0, 1, 0x92, 0, 0, 2], &tag(0, 3).repeat(2), kind]),
        frame(&[&[0x88, 0x47, 0, 0, 0x11, 64]]),
        frame(&[&[0x88, 0x48, 0, 0, 0x10, 64, 0, 0, 0x20, 64, 0, 0, 0x31, 64]]),
        frame(&[&tag(0, 5), &[0x88, 0x47, 0, 0, 0x11, 64]]),
        frame(&[&[0x88, 0x64, 0x11, 0, 0, 1, 0, 46], point]),
        frame(&[&tag(0, 5), &[0x88, 0x64, 0x11, 0, 0, 1, 0, 46], point]),
        frame(&[&tag(0, 5).repeat(5), kind]),
        frame(&[&[0x88, 0x47], &[0, 0, 0x10, 64].repeat(6)]),
    ]
}

const TOO_DEEP: usize = 2;

/// Frames of all kinds between these ends.
fn all_frames(ends: Ends) -> Vec<Vec<u8>> {
    let segment = tcp(ends);
    let mut fragment = vec![6, 0, 0, 1, 0, 0, 0, 7];
    fragment.extend(&segment);
    let datagrams = [
        version4(6, 0, ends, &segment),
        version4(6, 0x2000, ends, &segment),
        version4(6, 3, ends, &segment),
        version4(17, 0, ends, &segment),
        version6(6, ends, &segment),
        version6(44, ends, &fragment),
        version6(17, ends, &segment),
    ];
    datagrams.iter().flat_map(|it| frames(it)).collect()
}

#[test]
fn mail_passes_and_other_things_do_not() {
    let program = &programs(PORTS, 1, true)[0];
    let plain = |ip: Vec<u8>| frames(&ip).swap_remove(0);
    let out = |port| Ends(1, 2, 40_000, port);
    let four = |port| frames(&version4(6, 0, out(port), &tcp(out(port))));
    let six = |port| frames(&version6(6, out(port), &tcp(out(port))));
    for mail in [four(25), six(587), four(4190)].concat() {
        assert!(passes(program, &mail), "{mail:x?}");
    }
    for other in [four(443), six(443)] {
        let passed = other.iter().filter(|it| passes(program, it)).count();
        assert_eq!(passed, TOO_DEEP, "what cannot be looked into passes");
    }
    let back = out(995).back();
    assert!(passes(program, &plain(version4(6, 0, back, &tcp(back)))));
    assert!(!passes(
        program,
        &plain(version4(17, 0, out(25), &tcp(out(25))))
    ));
    let fragment = plain(version4(6, 0x2000, out(443), &tcp(out(443))));
    assert!(passes(program, &fragment));
    assert!(passes(program, &plain(version6(44, out(1), &[0; 8]))));
    // Who asks for an address is no mail.
    assert!(!passes(
        program,
        &[&[2; 12], &[8, 6][..], &[0; 28]].concat()
    ));
    assert!(!passes(&nothing(), &four(25)[0]));
    // Without an Ethernet header.
    let bare = &programs(PORTS, 1, false)[0];
    assert!(passes(bare, &version4(6, 0, out(25), &tcp(out(25)))));
    assert!(passes(bare, &version6(6, out(25), &tcp(out(25)))));
    assert!(!passes(bare, &version6(6, out(80), &tcp(out(80)))));
}

#[test]
fn whatever_passes_to_one_passes_to_exactly_one_of_many() {
    let frames: Vec<Vec<u8>> = (0..20)
        .flat_map(|it| all_frames(Ends(it, it * 7, 40_000, if it < 10 { 25 } else { 80 })))
        .collect();
    for workers in [1, 2, 3, 4, 7, 16] {
        for ports in [&[][..], PORTS] {
            let alone = &programs(ports, 1, true)[0];
            let many = programs(ports, workers, true);
            for frame in &frames {
                // Also cut at every length: nobody's is only what is nobody's with one worker too.
                for length in 0..=frame.len() {
                    let cut = &frame[..length];
                    let expected = usize::from(passes(alone, cut));
                    assert_eq!(takers(&many, cut).len(), expected, "{workers} {cut:x?}");
                    assert!(expected == 1 || !ports.is_empty(), "{cut:x?}");
                }
            }
        }
    }
}

#[test]
fn random_octets_come_to_exactly_one() {
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    for (has_link_layer, start) in [(true, 12), (false, 0)] {
        let many = programs(&[], 5, has_link_layer);
        for round in 0..20_000_u32 {
            let mut packet: Vec<u8> = (0..random() / 2).map(|_| random()).collect();
            let kinds = [[8, 0], [0x81, 0], [0x88, 0x47], [0x88, 0x64], [0x86, 0xdd]];
            for (place, kind) in (start..)
                .step_by(4)
                .zip((0..random() % 5).map(|_| random()))
            {
                if let Some(it) = packet.get_mut(place..place + 2) {
                    it.copy_from_slice(&kinds[usize::from(kind) % 5]);
                }
            }
            assert_eq!(takers(&many, &packet).len(), 1, "{round} {packet:x?}");
        }
    }
}

#[test]
fn both_directions_and_all_fragments_come_to_the_same_one() {
    let many = programs(&[], 4, true);
    let mut counts = [0; 4];
    for client in 0..=255 {
        let ends = Ends(client, 9, 40_000 + u16::from(client), 25);
        for datagrams in [
            [
                version4(6, 0x2000, ends, &tcp(ends)),
                version4(6, 3, ends, &[b'x'; 8]),
                version4(6, 0, ends.back(), &tcp(ends.back())),
            ],
            [
                version6(44, ends, &[6, 0, 0, 1, 0, 0, 0, 7]),
                version6(44, ends, &[6, 0, 0, 8, 0, 0, 0, 7]),
                version6(6, ends.back(), &tcp(ends.back())),
            ],
        ] {
            let deep = frames(&datagrams[0]).len() - TOO_DEEP;
            let all = datagrams
                .iter()
                .flat_map(|it| frames(it).into_iter().take(deep));
            let mut takers: Vec<usize> = all.flat_map(|it| takers(&many, &it)).collect();
            assert_eq!(takers.len(), 3 * deep);
            takers.dedup();
            let &[taker] = takers.as_slice() else {
                panic!("{client}: {takers:?}");
            };
            counts[taker] += 1;
        }
    }
    // And each has about a quarter of the clients of one server.
    assert!(
        counts.iter().all(|it| (64..=192).contains(it)),
        "{counts:?}"
    );
}

#[test]
fn the_kernel_takes_the_programs() {
    let many: Vec<u16> = (1..=200).collect();
    for ports in [&[][..], PORTS, &many] {
        for has_link_layer in [true, false] {
            for program in programs(ports, 3, has_link_layer) {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                attach(socket.into(), &program).unwrap();
            }
        }
    }
}
