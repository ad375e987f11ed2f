//! An A-ASSOCIATE-RQ as bytes, for callers that no library would let be so rude.

/// A request of `calling` to IMPAXLINK for one abstract syntax in context 1, Implicit VR Little Endian (PS3.8 9.3.2).
pub fn association_request(calling: &str, abstract_syntax: &str) -> Vec<u8> {
    let context = [
        vec![1, 0, 0, 0],
        item(0x30, abstract_syntax.as_bytes()),
        item(0x40, b"1.2.840.10008.1.2"),
    ];
    let body = [
        vec![0, 1, 0, 0],
        format!("{:16}{calling:16}", "IMPAXLINK").into_bytes(),
        vec![0; 32],
        item(0x10, b"1.2.840.10008.3.1.1.1"),
        item(0x20, &context.concat()),
        item(0x50, &item(0x51, &16384_u32.to_be_bytes())),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, 0], &length[..], &body].concat()
}

fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], content].concat()
}
