//! Lines of the addon's log: to the listener if there is one, otherwise to stderr.

use std::fmt::{self, Write};
use std::sync::Arc;

use anvil_engine::Error;
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use parking_lot::RwLock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::guard::Fallible;
use crate::jobs::{WeakListener, weak_listener};

static LISTENER: RwLock<Option<Arc<WeakListener<NativeLogLine>>>> = RwLock::new(None);

/// One line of the addon's log.
#[napi(object)]
#[derive(Clone)]
pub struct NativeLogLine {
    #[napi(ts_type = "'error' | 'warn' | 'info' | 'debug' | 'trace'")]
    pub level: String,
    pub target: String,
    pub message: String,
    pub request_id: Option<String>,
}

/// `filter`: as RUST_LOG.
pub(crate) fn start(filter: &str) -> Fallible<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Error::internal(format!("logFilter {filter:?} cannot be read: {error}"))
    })?;
    Registry::default()
        .with(filter)
        .with(Lines)
        .try_init()
        .map_err(|error| Error::internal(format!("the log does not start: {error}")))
}

/// Lines go to `listener`, on the calling thread.
#[napi]
pub fn set_logger(listener: Function<'_, NativeLogLine, ()>) -> napi::Result<()> {
    let listener = weak_listener(&listener)?;
    *LISTENER.write() = Some(Arc::new(listener));
    Ok(())
}

struct Lines;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = NativeLogLine {
            level: level(*event.metadata().level()).to_owned(),
            target: event.metadata().target().to_owned(),
            message: text.message + &text.fields,
            request_id: text.request,
        };
        let listener = LISTENER.read().clone();
        let told = listener
            .map(|listener| listener.call(line.clone(), ThreadsafeFunctionCallMode::NonBlocking));
        if told != Some(Status::Ok) {
            let request = line.request_id.unwrap_or_default();
            eprintln!("{} {} {} {request}", line.level, line.target, line.message);
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The message, then ` name=value` for each field but the client's request, which stands for itself.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    request: Option<String>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "request" => {
                self.request = Some(format!("{value:?}"));
                Ok(())
            }
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }
}
