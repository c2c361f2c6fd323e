//! The id of a client's request, so that log lines of all nodes that took part in it name it.

use std::fmt;
use std::sync::Arc;

/// As the gateway answers it in `x-amz-request-id`: 1 to [`RequestId::MAX_BYTES`] visible ASCII characters, so that it can
/// stand in a log line whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub const MAX_BYTES: usize = 64;

    /// None if it is empty, too long, or holds anything but visible ASCII.
    pub fn parse(text: &str) -> Option<RequestId> {
        let good = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| RequestId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn only_short_visible_text_is_an_id() {
        for good in ["a", "0123456789ABCDEF", &"x".repeat(64)] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "line\nbreak",
            "\u{e9}",
            "\u{1b}[0m",
            &"x".repeat(65),
        ] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }
}
