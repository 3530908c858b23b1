//! What `referer` may hold (rfc9110#10.1.3): an absolute URL without fragment and user, or a relative reference without
//! fragment. Envoy removes any other.

/// Whether a value is a URL that may stand there.
pub(super) fn is_valid(value: &[u8]) -> bool {
    if !value.iter().all(|&b| b.is_ascii_graphic() && b != b'#') {
        return false;
    }
    match authority(value) {
        Some(authority) => is_host_and_port(authority),
        // A first segment with a colon would be a scheme.
        None => value.iter().take_while(|&&b| b != b'/').all(|&b| b != b':'),
    }
}

/// The authority of `scheme://authority/…`.
fn authority(value: &[u8]) -> Option<&[u8]> {
    let scheme = value.iter().position(|b| !(b.is_ascii_alphanumeric() || b"+-.".contains(b)))?;
    let rest = value[scheme..].strip_prefix(b"://").filter(|_| value[0].is_ascii_alphabetic())?;
    rest.split(|b| matches!(b, b'/' | b'?')).next()
}

fn is_host_and_port(authority: &[u8]) -> bool {
    let host_end = match authority {
        [b'[', ..] => authority.iter().position(|&b| b == b']').map(|close| close + 1),
        _ => Some(authority.iter().position(|&b| b == b':').unwrap_or(authority.len())),
    };
    let Some((host, port)) = host_end.map(|end| authority.split_at(end)) else { return false };
    let in_range = |digits: &[u8]| std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok());
    !host.is_empty() && !host.contains(&b'@') && (port.is_empty() || port.strip_prefix(b":").is_some_and(in_range))
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn urls_without_fragment_and_user_stay() {
        for good in
            ["", "abc", "/rel", "?q", "//x", "http://x/y", "HTTPS://x", "ftp://x", "android-app://com.x/", "http://[::1]/", "http://x:80?q"]
        {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "http://", "http://x y/", "http://x:99999/", "about:blank", "http://u@x/", "http://x/a b", "http://x/#f", "/r#f", "http://[::1",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
