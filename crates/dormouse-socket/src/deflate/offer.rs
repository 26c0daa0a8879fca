//! What a client offers, and what is agreed on.

use std::fmt;

use crate::extensions::Parameter;

use super::{EXTENSION, Window};

/// What client and server agree on: messages may be compressed, each by itself.
///
/// `Display` is the value of `Sec-WebSocket-Extensions` in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    pub(crate) window: Window,
    /// Whether the client asked for a limit, so that the answer must name one.
    names_window: bool,
}

impl Deflate {
    /// What a client gets that asks for nothing in particular.
    pub const PLAIN: Deflate = Deflate { window: Window::Full, names_window: false };
}

impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{EXTENSION}; server_no_context_takeover; client_no_context_takeover")?;
        if self.names_window {
            write!(f, "; server_max_window_bits={}", self.window.bits())?;
        }
        Ok(())
    }
}

/// Judges one offer of the extension. `None`: it must be declined, and the client's next one, if
/// there is one, may be taken.
pub(crate) fn negotiate(parameters: &[Parameter]) -> Option<Deflate> {
    let mut window = None;
    for (at, Parameter { name, value }) in parameters.iter().enumerate() {
        if parameters[..at].iter().any(|earlier| earlier.name == *name) {
            return None;
        }
        match (name.as_str(), value) {
            // Neither side ever takes its context over, whether the client asks for it or not.
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            // What a client may use of its own window is its choice: any is inflated.
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => _ = window_bits(value)?,
            ("server_max_window_bits", Some(value)) => {
                window = Some(Window::within(window_bits(value)?)?);
            }
            _ => return None,
        }
    }
    let names_window = window.is_some();
    Some(Deflate { window: window.unwrap_or(Window::Full), names_window })
}

/// A number from 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15" => value.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::extensions::parse;

    use super::*;

    fn answer(offer: &str) -> Option<String> {
        let offers = parse(offer).expect("the offer is well-formed");
        negotiate(&offers[0].parameters).map(|deflate| deflate.to_string())
    }

    #[test]
    fn what_is_agreed_never_takes_a_context_over() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

        for parameters in [
            "",
            "; client_max_window_bits",
            "; client_max_window_bits=8",
            "; client_max_window_bits=\"15\"",
            "; server_no_context_takeover",
            "; client_no_context_takeover; server_no_context_takeover",
        ] {
            let offer = format!("permessage-deflate{parameters}");
            assert_eq!(answer(&offer).as_deref(), Some(plain), "{offer}");
        }
    }

    #[test]
    fn a_limit_of_the_window_is_kept_to_and_named() {
        for (asked, named) in [(15, 15), (14, 12), (12, 12), (11, 9), (9, 9)] {
            let answer = answer(&format!("permessage-deflate; server_max_window_bits={asked}"));

            let expected = format!("; server_max_window_bits={named}");
            assert!(answer.is_some_and(|answer| answer.ends_with(&expected)), "{asked}");
        }
    }

    #[test]
    fn what_means_nothing_is_declined() {
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=8",
            "server_max_window_bits=16",
            "server_max_window_bits=012",
            "server_max_window_bits=12x",
            "client_max_window_bits=7",
            "client_max_window_bits=08",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=9; server_max_window_bits=9",
            "unheard_of",
        ] {
            assert_eq!(answer(&format!("permessage-deflate; {parameters}")), None, "{parameters}");
        }
    }
}
