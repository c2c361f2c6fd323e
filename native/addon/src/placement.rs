//! Placement groups that the main thread makes known.

use anvil_engine::{Error, Pg};
use napi_derive::napi;

use crate::convert::size;
use crate::guard;
use crate::process::engine;

#[napi(object)]
pub struct PgDefinition {
    pub pg_id: f64,
    pub generation: f64,
    pub k: u32,
    pub m: u32,
    pub members: Vec<String>,
}

#[napi]
pub fn set_pg(definition: PgDefinition) -> napi::Result<()> {
    guard::now(|| {
        let members = definition
            .members
            .iter()
            .map(|id| anvil_engine::id::parse("a member", id));
        let pg = Pg {
            id: size("pgId", definition.pg_id)?,
            generation: size("generation", definition.generation)?,
            k: definition.k as usize,
            m: definition.m as usize,
            members: members.collect::<Result<_, Error>>()?,
        };
        engine()?.registry.set_pg(pg)
    })
}

#[napi]
pub fn forget_pg(pg_id: f64) -> napi::Result<()> {
    guard::now(|| {
        engine()?.registry.forget_pg(size("pgId", pg_id)?);
        Ok(())
    })
}
