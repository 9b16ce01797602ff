//! Frames that are sent, and what is taken for an answer (ARP: RFC 826).

use vfio_drivers::nic::MacAddress;

use super::Peer;

/// The shortest frame that Ethernet carries.
pub(super) const LEN: usize = 60;

/// For all.
const BROADCAST: [u8; 6] = [0xff; 6];
/// The type of frames of ARP.
const ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet and IPv4, with addresses of 6 and 4 bytes.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// The operation: who has the address?
const REQUEST: [u8; 2] = [0, 1];
/// The operation: I have.
const REPLY: [u8; 2] = [0, 2];

/// Asks who has the peer's address.
pub(super) fn ask(mac: MacAddress, peer: Peer) -> [u8; LEN] {
    let mut frame = [0; LEN];
    let parts = [
        &BROADCAST[..],
        &mac.0,
        &ARP,
        &ETHERNET_IPV4,
        &REQUEST,
        &mac.0,
        &peer.address,
        &[0; 6],
        &peer.peer,
    ];
    let bytes = parts.into_iter().flatten();
    frame
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    frame
}

/// Tells whether a frame is the peer's answer, or the question itself.
pub(super) fn is_answer(frame: &[u8], question: &[u8; LEN], peer: Peer) -> bool {
    if frame.get(..LEN) == Some(question) {
        return true;
    }
    let part = |start: usize, len: usize| frame.get(start..start.saturating_add(len));
    part(12, 2) == Some(&ARP)
        && part(20, 2) == Some(&REPLY)
        && part(28, 4) == Some(&peer.peer)
        && part(38, 4) == Some(&peer.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_from_the_peer_and_for_us() {
        let peer = Peer::default();
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let question = ask(mac, peer);
        assert!(is_answer(&question, &question, peer));
        assert_eq!(question[38..42], [10, 0, 2, 2]);
        let theirs = Peer {
            address: peer.peer,
            peer: peer.address,
        };
        let mut answer = ask(MacAddress([2, 0, 0, 0, 0, 2]), theirs);
        assert!(!is_answer(&answer, &question, peer));
        answer[21] = 2;
        assert!(is_answer(&answer, &question, peer));
        answer[41] = 16;
        assert!(!is_answer(&answer, &question, peer));
        assert!(!is_answer(&answer[..30], &question, peer));
    }
}
