//! The closed set of failures that cross to JavaScript, as `[Kind] text`.

use std::fmt;

/// What went wrong, in the words of `src/shared/native.ts` (`NativeErrorKind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    BadDigest,
    ContentSha256Mismatch,
    IncompleteBody,
    EntityTooLarge,
    MalformedChunk,
    MalformedTrailer,
    SignatureDoesNotMatch,
    SlowDown,
    InsufficientRedundancy,
    InsufficientStorage,
    ShardsUnavailable,
    Moved,
    StaleGeneration,
    WrongEncryptionKey,
    DriveMismatch,
    DriveLocked,
    DriveFailed,
    Aborted,
    Internal,
}

/// A failure of the engine. Cheap to clone: an upload that failed answers every later call with the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub text: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error {
            kind,
            text: text.into(),
        }
    }

    /// A mistake in this program or its caller.
    pub fn internal(text: impl Into<String>) -> Error {
        Error::new(Kind::Internal, text)
    }

    pub(crate) fn aborted() -> Error {
        Error::new(Kind::Aborted, "the upload was given up")
    }

    pub(crate) fn gone(what: &str) -> Error {
        Error::new(
            Kind::Aborted,
            format!("no such {what}: it ended or was closed"),
        )
    }

    /// What a caught panic says, as an error.
    pub fn from_panic(panic: Box<dyn std::any::Any + Send>) -> Error {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        Error::internal(format!("panic: {text}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}] {}", self.kind, self.text)
    }
}

impl std::error::Error for Error {}
