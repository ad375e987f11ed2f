//! Bytes that take down a careless reader: small to send, ruinous to believe.

/// An identifier in Explicit VR Little Endian with sequences nested so many levels deep, each of undefined length.
///
/// 20 bytes a level; some 2,000 overflow the stack of a reader that recurses.
pub fn deep_nesting(levels: usize) -> Vec<u8> {
    const CONTENT_SEQUENCE: [u8; 12] = [0x40, 0, 0x30, 0xA7, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    const ITEM: [u8; 8] = [0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
    const ITEM_END: [u8; 8] = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
    const SEQUENCE_END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let mut bytes = [CONTENT_SEQUENCE.as_slice(), &ITEM].concat().repeat(levels);
    bytes.extend([ITEM_END, SEQUENCE_END].concat().repeat(levels));
    bytes
}

/// An identifier of 14 bytes in Explicit VR Little Endian whose one element claims 4 GiB.
pub fn declared_4_gib() -> Vec<u8> {
    vec![
        0x32, 0, 0, 0x40, b'U', b'T', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF, b'A', b'B',
    ]
}

/// The head of a P-DATA-TF PDU that claims 4 GiB, and a little of it.
pub fn huge_pdu() -> Vec<u8> {
    vec![0x04, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 4, 1, 3, 0, 0]
}

/// A P-DATA-TF PDU whose one PDV claims more than the PDU holds.
pub fn overlong_pdv() -> Vec<u8> {
    vec![0x04, 0, 0, 0, 0, 8, 0x7F, 0xFF, 0xFF, 0xFF, 1, 3, 0, 0]
}

/// What a web server would say: no PDU at all.
pub fn garbage() -> Vec<u8> {
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()
}
