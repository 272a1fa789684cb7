use super::*;

/// A packet: link type, time, octets, length.
type Seen = (u32, u64, Vec<u8>, usize);

/// A file by its parts: every packet of it, and how it ended.
fn read(octets: &[u8], portion: usize) -> (Vec<Seen>, Result<bool, BadFile>) {
    let mut reader = Reader::new();
    let mut rest = octets;
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok(Step::Packet(it)) => packets.push((it.link, it.time, it.octets.to_vec(), it.length)),
            Ok(Step::NeedMore) => {
                let space = reader.space();
                let count = space.len().min(rest.len()).min(portion);
                space[..count].copy_from_slice(&rest[..count]);
                reader.filled(count);
                rest = &rest[count..];
                if count == 0 {
                    reader.end();
                }
            }
            Ok(Step::End { cut }) => return (packets, Ok(cut)),
            Err(error) => return (packets, Err(error)),
        }
    }
}

fn pcap(order: Order, magic: u32) -> Vec<u8> {
    let u32s = |value: u32| match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let mut file = u32s(magic).to_vec();
    file.extend(u32s(0x0002_0004));
    file.extend([0; 12]);
    file.extend(u32s(1));
    for (second, octets, length) in [(5, &b"abc"[..], 3), (6, b"", 9)] {
        file.extend(u32s(second));
        file.extend(u32s(7));
        file.extend(u32s(u32::try_from(octets.len()).unwrap()));
        file.extend(u32s(length));
        if magic == 0xa1b2_cd34 {
            file.extend([0; 8]);
        }
        file.extend(octets);
    }
    file
}

#[test]
fn pcap_in_every_form() {
    for order in [Order::Little, Order::Big] {
        for (magic, fraction) in [(0xa1b2_c3d4, 7000), (0xa1b2_3c4d, 7), (0xa1b2_cd34, 7000)] {
            let expected = vec![
                (1, 5_000_000_000 + fraction, b"abc".to_vec(), 3),
                (1, 6_000_000_000 + fraction, Vec::new(), 9),
            ];
            for portion in [1, 5, 4096] {
                assert_eq!(
                    read(&pcap(order, magic), portion),
                    (expected.clone(), Ok(false))
                );
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_gives_the_packets_before_the_cut() {
    let file = pcap(Order::Little, 0xa1b2_c3d4);
    for cut in 0..file.len() {
        let (packets, end) = read(&file[..cut], 4096);
        assert_eq!(packets.len(), usize::from(cut >= 24 + 16 + 3), "{cut}");
        match cut {
            0 => assert_eq!(end, Ok(false)),
            1..4 => assert_eq!(end, Err(BadFile::NotACapture)),
            _ => assert_eq!(end, Ok(cut != 24 && cut != 43), "{cut}"),
        }
    }
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let u32s = |value: u32| match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let padded = body.len().next_multiple_of(4);
    let length = u32::try_from(padded + 12).unwrap();
    let mut block = [u32s(kind), u32s(length)].concat();
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(u32s(length));
    block
}

fn section(order: Order) -> Vec<u8> {
    let u32s = |value: u32| match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let u16s = |value: u16| match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let mut body = u32s(0x1a2b_3c4d).to_vec();
    body.extend([0, 1, 0, 0]);
    body.extend([0xff; 8]);
    let mut file = block(order, 0x0a0d_0d0a, &body);
    // Two interfaces: Ethernet in microseconds, SLL2 in nanoseconds with an offset of 100 s.
    let mut first = u16s(1).to_vec();
    first.extend([0; 6]);
    file.extend(block(order, 1, &first));
    let mut second = u16s(276).to_vec();
    second.extend([0; 6]);
    second.extend(u16s(9));
    second.extend(u16s(1));
    second.extend([9, 0, 0, 0]);
    second.extend(u16s(14));
    second.extend(u16s(8));
    match order {
        Order::Little => second.extend(100_u64.to_le_bytes()),
        Order::Big => second.extend(100_u64.to_be_bytes()),
    }
    file.extend(block(order, 1, &second));
    for interface in [0, 1] {
        let mut packet = u32s(interface).to_vec();
        packet.extend([u32s(0), u32s(2_000_000), u32s(3), u32s(3)].concat());
        packet.extend(b"abc");
        file.extend(block(order, 6, &packet));
    }
    // Keys, which are passed over, and a simple packet.
    file.extend(block(order, 10, b"secrets secrets!"));
    let mut simple = u32s(2).to_vec();
    simple.extend(b"xy");
    file.extend(block(order, 3, &simple));
    file
}

#[test]
fn pcapng_with_sections_interfaces_and_clocks() {
    let mut file = section(Order::Little);
    file.extend(section(Order::Big));
    let once = [
        (1, 2_000_000_000, b"abc".to_vec(), 3),
        (276, 100_002_000_000, b"abc".to_vec(), 3),
        (1, 0, b"xy".to_vec(), 2),
    ];
    let expected = [once.clone(), once].concat();
    for portion in [1, 7, 4096] {
        assert_eq!(read(&file, portion), (expected.clone(), Ok(false)));
    }
}

#[test]
fn a_length_that_cannot_be_ends_the_reading() {
    let mut file = pcap(Order::Little, 0xa1b2_c3d4);
    file[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&file, 4096).1, Err(BadFile::Damaged));
    let mut file = section(Order::Little);
    file[4..8].copy_from_slice(&13_u32.to_le_bytes());
    assert_eq!(read(&file, 4096).1, Err(BadFile::Damaged));
    assert_eq!(read(b"MZ is no capture", 4096).1, Err(BadFile::NotACapture));
}

#[test]
fn any_flipped_octet_is_survived() {
    let file = section(Order::Big);
    for at in 0..file.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= bits;
            let _ = read(&file, 4096);
        }
    }
}
