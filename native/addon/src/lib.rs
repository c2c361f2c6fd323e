//! The engine for Node: maps src/shared/native.ts onto anvil-engine and holds nothing of its own but the process's one
//! engine. Errors cross as `[Kind] text`; panics end here, as Internal.
#![allow(
    clippy::needless_pass_by_value,
    reason = "napi hands arguments over by value"
)]
#![cfg_attr(test, allow(dead_code, reason = "a test build exports nothing"))]

mod convert;
mod drives;
mod guard;
mod jobs;
mod log;
mod placement;
mod plane;
mod process;
mod promises;
mod reads;
mod small;
mod uploads;
