//! Session tickets under keys of the configuration (`session_ticket_keys`), so that other processes with the same keys
//! resume each other's sessions; or under a key of this process's own, with a lifetime that is asked for.
//!
//! A ticket is the key's name, a nonce, and the session sealed with AES-256-GCM. The first key seals, all of them open.

use super::config::TlsError;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use rustls::server::ProducesTickets;
use std::{fmt, sync::Arc, time::Duration};

/// Bytes of a key in the configuration: a name of 16, 32 that Envoy signs with, 32 that it encrypts with.
const KEY_BYTES: usize = 80;

/// Bytes of a key's name.
const NAME_BYTES: usize = 16;

/// How long a ticket is good where nothing is said: as BoringSSL's.
const LIFETIME: Duration = Duration::from_secs(7200);

struct Key {
    name: [u8; NAME_BYTES],
    seal: LessSafeKey,
}

/// Makes and opens tickets.
pub(super) struct Tickets {
    keys: Vec<Key>,
    lifetime: Duration,
}

impl fmt::Debug for Tickets {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} keys)", self.keys.len())
    }
}

impl Tickets {
    /// With these keys, the newest first; with one of its own where there are none.
    pub(super) fn new(keys: &[Vec<u8>], lifetime: Option<Duration>) -> Result<Arc<Tickets>, TlsError> {
        let mut made = Vec::new();
        for key in keys {
            made.push(Key::read(key).ok_or(TlsError::BadTicketKey(key.len()))?);
        }
        if made.is_empty() {
            let mut own = [0; KEY_BYTES];
            rand::fill(&mut own).map_err(|_| TlsError::Inconsistent("there are no random numbers".into()))?;
            made.extend(Key::read(&own));
        }
        Ok(Arc::new(Tickets { keys: made, lifetime: lifetime.unwrap_or(LIFETIME) }))
    }
}

impl Key {
    fn read(bytes: &[u8]) -> Option<Key> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let (name, rest) = bytes.split_first_chunk::<NAME_BYTES>()?;
        let seal = UnboundKey::new(&AES_256_GCM, &rest[32..]).ok()?;
        Some(Key { name: *name, seal: LessSafeKey::new(seal) })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.seal.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&key.name), &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let plain = key.seal.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_opened_by_whoever_has_the_key() {
        let key = |n: u8| vec![n; KEY_BYTES];
        let tickets = |keys: &[Vec<u8>]| Tickets::new(keys, None).expect("good keys");
        let ticket = tickets(&[key(1)]).encrypt(b"session").expect("sealed");
        assert_eq!(tickets(&[key(2), key(1)]).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets(&[key(2)]).decrypt(&ticket), None);
        let mut spoilt = ticket.clone();
        spoilt[40] ^= 1;
        assert_eq!(tickets(&[key(1)]).decrypt(&spoilt), None);
        for end in 0..ticket.len() {
            assert_eq!(tickets(&[key(1)]).decrypt(&ticket[..end]), None);
        }
        assert!(Tickets::new(&[vec![1; 79]], None).is_err());
        assert_eq!(tickets(&[]).lifetime(), 7200);
    }
}
