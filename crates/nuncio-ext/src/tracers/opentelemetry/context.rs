//! W3C Trace Context: `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>).

use nuncio_codec::headers::HeaderMap;
use nuncio_core::{SpanContext, hex};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

/// What a request brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// No context.
    Nothing,
    /// Something that is none.
    Broken,
    /// The context of the span that sent it.
    Context(SpanContext),
}

/// The context in a request's headers.
pub(super) fn extract(head: &HeaderMap) -> Brought {
    let Some(text) = head.get(TRACEPARENT) else { return Brought::Nothing };
    match parse(text) {
        Some(context) => {
            let state = head.get_joined(TRACESTATE).unwrap_or_default();
            Brought::Context(SpanContext { state: String::from_utf8_lossy(&state).into(), ..context })
        }
        None => Brought::Broken,
    }
}

fn parse(text: &[u8]) -> Option<SpanContext> {
    let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    if text.len() != LENGTH || !dashes || text.starts_with(b"ff") {
        return None;
    }
    let mut version = [0];
    let mut flags = [0];
    let mut context = SpanContext::default();
    bytes(&text[..2], &mut version)?;
    bytes(&text[3..35], &mut context.trace_id)?;
    bytes(&text[36..52], &mut context.span_id)?;
    bytes(&text[53..], &mut flags)?;
    context.sampled = flags[0] & 1 == 1;
    (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
}

fn bytes(text: &[u8], out: &mut [u8]) -> Option<()> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (pair, byte) in text.chunks_exact(2).zip(out) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(())
}

/// Writes a context into a request's headers.
pub(super) fn inject(context: &SpanContext, head: &mut HeaderMap) {
    let flags = if context.sampled { "01" } else { "00" };
    head.insert(TRACEPARENT, format!("00-{}-{}-{flags}", hex(&context.trace_id), hex(&context.span_id)));
    head.insert(TRACESTATE, context.state.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_its_journey_and_nonsense_is_none() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut head = HeaderMap::default();
        assert_eq!(extract(&head), Brought::Nothing);
        head.insert(TRACEPARENT, text);
        head.append(TRACESTATE, "a=1");
        head.append(TRACESTATE, "b=2");
        let Brought::Context(context) = extract(&head) else { panic!("a context") };
        assert!(context.sampled);
        assert_eq!(&*context.state, "a=1,b=2");
        let mut out = HeaderMap::default();
        inject(&context, &mut out);
        assert_eq!((out.get(TRACEPARENT), out.get(TRACESTATE)), (Some(text.as_bytes()), Some(&b"a=1,b=2"[..])));
        for broken in [
            "", "00", &text[..54], &format!("{text}0"), &text.replace('7', "g"), &text.replacen("00-", "ff-", 1), &text.replace('-', "_"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            head.insert(TRACEPARENT, broken);
            assert_eq!(extract(&head), Brought::Broken, "{broken}");
        }
    }
}
